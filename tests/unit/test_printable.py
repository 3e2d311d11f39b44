"""What may go to a terminal, of text that others wrote."""

import unicodedata

import pytest

from shared.printable import printable


@pytest.mark.parametrize(
    ("odd", "sign"),
    [
        ("\x1b", "\u241b"),
        ("\r", "\u240d"),
        ("\x7f", "\u2421"),
        ("\x85", r"\x85"),
        ("\x9b", r"\x9b"),
        ("\u2028", r"\u2028"),
        ("\u202e", r"\u202e"),
        ("\u2066", r"\u2066"),
        ("\u200b", r"\u200b"),
        ("\ufeff", r"\ufeff"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_controls_a_terminal_or_is_not_seen_is_a_sign(odd: str, sign: str) -> None:
    assert printable(f"a{odd}b") == printable(f"a{odd}b", colours=True) == f"a{sign}b"


def test_no_character_of_format_stays_but_joiners_and_marks_of_writing() -> None:
    kept = {char for char in map(chr, range(0x110000)) if printable(char) == char and not char.isprintable()}
    by_category = {
        category: {one for one in kept if unicodedata.category(one) == category} for category in ("Cc", "Cf")
    }
    assert by_category["Cc"] == {"\n", "\t"}
    writing = ("ARABIC", "SYRIAC", "KAITHI", "EGYPTIAN", "MUSICAL", "SHORTHAND")  # they show, or belong to what shows
    names = {unicodedata.name(one) for one in by_category["Cf"]}
    others = {name for name in names if not name.startswith(writing)}
    assert others == {"ZERO WIDTH JOINER", "ZERO WIDTH NON-JOINER"}


def test_ends_of_lines_and_tabs_stay_unless_it_is_to_be_one_line() -> None:
    assert printable("a\tb\nc") == "a\tb\nc"
    assert printable("a\tb\nc", one_line=True) == "a\u2409b\u240ac"


def test_words_and_emoji_that_are_written_with_joiners_stay_whole() -> None:
    for word in ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\U0001f468\u200d\U0001f469\u200d\U0001f467"):
        assert printable(word) == word


def test_colours_stay_where_they_may_and_no_other_escape_does() -> None:
    red = "\x1b[1;31mred\x1b[0m"
    assert printable(red, colours=True) == red
    assert printable(f"{red}\x1b[2J\x1b]0;t\x07", colours=True) == f"{red}\u241b[2J\u241b]0;t\u2407"
    assert "\x1b" not in printable(red)
