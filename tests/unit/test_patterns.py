"""Patterns that could take long are refused with the reason; those that people write are not."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config import mismatch
from shared.config.patterns import PATTERN_MAX, TEXT_MAX, why_not
from shared.tasks import Param

GOOD = [
    "[a-z]+",
    r"\d{4}-\d{2}-\d{2}",
    "[a-z0-9]+(-[a-z0-9]+)*",
    r"[a-z0-9]+(?:[._-][a-z0-9]+)*",
    r"[^@\s]+@[^@\s]+\.[a-z]{2,}",
    "(daily|weekly|monthly)",
    "(foo|bar)+",
    ".*",
    ".*error.*",
    r"(?i)v?[0-9]+(\.[0-9]+){0,2}",
    r"/(?:[\w.-]+/)*[\w.-]*",
    r"\w+\s\w+",
    "(?!admin).+",
    "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "s3://[a-z0-9.-]{3,63}/.+",
    "ä+b",
]
SLOW = [
    "(a+)+b",
    "(a*)*b",
    "(a|a)*b",
    "(a|ab|b)*c",
    "(.*a){12}",
    r"(\w+\s?)+x",
    "(x+x+)+y",
    "a*a*a*a*b",
    "(a?){30}a{30}",
    "(a?a?)+b",
    "([a-zA-Z]+)*1",
    r"(a+)\1+b",
    "(?i)(ab|AB)+b",
    "(?:a{1,9}){1,9}b",
    "(.+)+",
    "(?:(?:a+)b?)+c",
]


@pytest.mark.parametrize("pattern", GOOD)
def test_what_people_write_is_taken(pattern: str) -> None:
    assert why_not(pattern) == ""


@pytest.mark.parametrize("pattern", SLOW)
def test_a_slow_pattern_is_refused_and_named(pattern: str) -> None:
    why = why_not(pattern)
    assert pattern in why
    assert "may take very long" in why


def test_a_pattern_and_what_it_is_tried_on_have_a_length() -> None:
    assert f"more than {PATTERN_MAX}" in why_not("a" * (PATTERN_MAX + 1))
    assert mismatch(Param(pattern="a*"), "a" * TEXT_MAX) == ""
    assert f"at most {TEXT_MAX} characters" in mismatch(Param(pattern="a*"), "a" * (TEXT_MAX + 1))


def test_a_pattern_from_before_is_not_tried() -> None:
    assert "may take very long" in mismatch(Param(pattern="(a+)+b"), "a" * 40)


pieces = st.recursive(
    st.sampled_from(["a", "b", "ab", "[ab]", "[^a]", ".", "a?", "b*", "a+", r"\w", "a{1,3}"]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda found: "(" + "|".join(found) + ")"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,3}"])).map(
            lambda found: f"(?:{found[0]}){found[1]}"
        ),
    ),
    max_leaves=8,
)


@given(pattern=pieces, texts=st.lists(st.text(alphabet="abc", max_size=40), max_size=5))
def test_no_pattern_that_is_taken_takes_long(pattern: str, texts: list[str]) -> None:
    if why_not(pattern):
        return
    for text in [*texts, "a" * 300 + "!", "ab" * 150 + "!", "b" * 300 + "!"]:
        began_s = time.process_time()
        re.fullmatch(pattern, text)
        assert time.process_time() - began_s < 1.0
