"""The line numbers of tables, keys and list items in a TOML text, which the standard parser lacks."""

import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from shared.config.source_locations import Path

_BLANK: Final = " \t\r\n"
_AFTER_BARE: Final = ",]}#\n"


def find_lines(text: str) -> dict[Path, int]:
    """
    The line, from 1, of every key in *text*, which ``tomllib`` has accepted and which is not nested very deep.

    The line of a table is that of its header, or of the first key that implies it. The result is incomplete for a text
    that is not TOML.
    """
    scanner = _Scanner(text)
    with suppress(IndexError, ValueError):  # an error message without a line is better than none
        scanner.document()
    return scanner.lines


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """The line of *path*, or of the nearest thing around it that has one; 0 when there is none."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 0)


class _Scanner:
    """Reads just enough of the grammar to know where keys start and values end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self._starts = [0] + [index + 1 for index, char in enumerate(text) if char == "\n"]
        self._tables: dict[Path, int] = {}  # how many `[[path]]` were seen

    def document(self) -> None:
        table: Path = ()
        while self._skip():
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        start, is_array = self.at, self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        path: Path = ()
        keys = self._keys()
        for index, key in enumerate(keys):
            path = (*path, key)
            if is_array and index == len(keys) - 1:
                self._mark(path, start)
                self._tables[path] = self._tables.get(path, 0) + 1
            if path in self._tables:
                path = (*path, self._tables[path] - 1)
            self._mark(path, start)
        self._skip()
        self.at += 2 if is_array else 1
        return path

    def _pair(self, table: Path) -> None:
        start = self.at
        for key in self._keys():
            table = (*table, key)
            self._mark(table, start)
        self._skip()
        self.at += 1  # the equals sign
        self._skip()
        self._value(table)

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip()
            start = self.at
            if self.text[start] in "\"'":
                self._string()
                keys.append(str(tomllib.loads(f"k = {self.text[start : self.at]}")["k"]))
            else:
                while self.text[self.at].isalnum() or self.text[self.at] in "_-":
                    self.at += 1
                keys.append(self.text[start : self.at])
            self._skip()
            if self.text[self.at] != ".":
                return keys
            self.at += 1

    def _value(self, path: Path) -> None:
        char = self.text[self.at]
        if char in "\"'":
            self._string()
        elif char == "[":
            self._items(path)
        elif char == "{":
            self._inline(path)
        else:
            start = self.at
            while self.at < len(self.text) and self.text[self.at] not in _AFTER_BARE:
                self.at += 1
            if self.at == start:
                raise ValueError("not TOML")

    def _items(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self._skip() and self.text[self.at] != "]":
            self._mark((*path, index), self.at)
            self._value((*path, index))
            index += 1
            self._comma("]")
        self.at += 1

    def _inline(self, path: Path) -> None:
        self.at += 1
        while self._skip() and self.text[self.at] != "}":
            self._pair(path)
            self._comma("}")
        self.at += 1

    def _comma(self, end: str) -> None:
        if self._skip() and self.text[self.at] == ",":
            self.at += 1
        elif self.text[self.at] != end:
            raise ValueError("not TOML")

    def _string(self) -> None:
        quote = self.text[self.at]
        end = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self.at += len(end)
        while not self.text.startswith(end, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
            if self.at >= len(self.text):
                raise ValueError("not TOML")
        self.at += len(end)
        if len(end) == 3:  # up to two more quotes belong to the text before the closing ones
            while self.text.startswith(quote, self.at):
                self.at += 1

    def _skip(self) -> bool:
        """Go to the next character that means something; False at the end of the text."""
        while self.at < len(self.text):
            if self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif self.text[self.at] in _BLANK:
                self.at += 1
            else:
                return True
        return False

    def _mark(self, path: Path, at: int) -> None:
        self.lines.setdefault(path, bisect_right(self._starts, at))
