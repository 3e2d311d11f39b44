"""Every test that ``SECURITY.md`` names is there, and every line of its threat model has one or says why not."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
MODEL = PAGE.partition("## Threat model")[2].partition("\n## ")[0]


@cache
def named_in(path: str) -> frozenset[str]:
    return frozenset(re.findall(r"^(?:async )?def (test_\w+)", (ROOT / path).read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda part: part)
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    assert (ROOT / path).is_file()
    assert name in named_in(path)


def test_every_may_not_is_checked_by_a_test() -> None:
    bullets = [" ".join(one.split()) for one in re.split(r"^\* ", MODEL, flags=re.MULTILINE)[1:]]
    forbidden = [one for one in bullets if one.startswith("**May not**")]
    assert len(forbidden) > 20
    assert [one for one in forbidden if "::test_" not in one] == []


WHO = (
    "Anonymous",
    "`read`",
    "`run`",
    "`admin`",
    "Redis",
    "code of a task",
    "user of the machine",
    "task file",
    "web page",
)


@pytest.mark.parametrize("who", WHO)
def test_every_actor_of_the_threat_model_is_there(who: str) -> None:
    assert [line for line in MODEL.splitlines() if line.startswith("### ") and who in line]


def test_every_mention_of_a_test_is_one_that_is_checked() -> None:
    mentioned = re.findall(r"tests/[\w/]+\.py(?:::\w+)?", PAGE)
    assert {f"{path}::{name}" for path, name in NAMED} == set(mentioned)
