"""The Lua of the store: every file says which libraries it calls, defines what it names, and stays short."""

import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from shared.store.redis.scripts import FOLDER, declared
from tests.promises.lua_names import Names, names_of

FILES: Final = sorted(FOLDER.rglob("*.lua"))
GIVEN: Final = re.compile(
    "[FRS]|ARGV|KEYS|assert|cjson|cmsgpack|error|ipairs|math|pairs|pcall|redis|string|struct|table|tonumber|tostring"
    "|type|unpack"
)
"""What Redis has, and the literals that ``scripts.py`` puts in."""

by_file = pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(FOLDER)) for path in FILES])


@cache
def _names(path: Path) -> Names:
    return names_of(path.read_text("utf-8"))


@cache
def _homes() -> dict[str, str]:
    """The library of each name that one defines."""
    return {name: path.stem for path in FILES if path.parent.name == "lib" for name in _names(path).own}


def test_no_two_libraries_define_the_same_name() -> None:
    assert len(_homes()) == sum(len(_names(path).own) for path in FILES if path.parent.name == "lib")


@by_file
def test_a_file_declares_just_the_libraries_that_it_calls(path: Path) -> None:
    called = {name for name in _names(path).free if not GIVEN.fullmatch(name)}
    unknown = {name for name in called if name not in _homes() and not name.startswith("on_")}
    assert unknown == set(), "defined nowhere"
    assert set(declared(path.read_text("utf-8"), "uses")) == {_homes().get(name, name) for name in called}


@by_file
def test_a_local_is_used_and_hides_no_other(path: Path) -> None:
    names = _names(path)
    assert (names.unused, names.shadowing) == (set(), set())


@by_file
def test_files_and_lines_are_short(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("-- uses:")] == []
    assert len(lines) <= (110 if path.parent.name == "lib" else 80)
