"""Every key that the store's code writes down is a row of its README's table, and every row is a key of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import shared
import shared.store
from shared.store.redis.scripts import path_of

STORE = Path(shared.store.__file__).parent
SHARED = Path(shared.__file__).parent
PLAIN = {"Dramatiq", "consumers", "…"}
FOREIGN = {"dramatiq:__acks__.*.*", "dramatiq:__heartbeats__"}
"""Keys that Dramatiq makes itself; our scripts only clear them away, piece by piece."""


def test_every_key_of_the_code_is_in_the_table() -> None:
    table = _documented("keys") | _documented("channels")
    missing = {key: place for key, place in _written().items() if not any(_covers(row, key) for row in table)}
    assert not missing, f"no row of shared/store/README.md names {missing}"


def test_every_row_of_the_table_is_a_key_of_the_code() -> None:
    written = set(_written()) | FOREIGN
    idle = sorted(row for row in _documented("keys") if not any(_covers(row, key) for key in written))
    assert not idle, f"nothing in shared/store makes {idle}"


def test_no_row_is_there_twice() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", _section(), re.MULTILINE)
    assert len(rows) == len(set(rows))


def test_every_row_names_scripts_and_functions_that_exist() -> None:
    words = {
        word
        for row in re.findall(r"^\| `[^`]+` \| \w[^|]*\|[^|]*\|([^|]*)\|([^|]*)\|", _section(), re.MULTILINE)
        for cell in row
        for word in re.sub(r"\([^)]*\)", "", cell).strip().split(", ")
    }
    assert len(words) > 20
    assert sorted(word for word in words if not _exists(word.strip())) == []


def _exists(word: str) -> bool:
    function = re.fullmatch(r"`(\w+)\.(\w+)`", word)
    if function:
        return any(f"def {function[2]}(" in path.read_text("utf-8") for path in STORE.rglob(f"{function[1]}.py"))
    return " " in word or word in PLAIN or path_of(word).exists()


def _section() -> str:
    return (STORE / "README.md").read_text("utf-8").partition("## Keys")[2].partition("\n## ")[0]


def _documented(what: str) -> set[str]:
    """Keys of the table, or the channels named below it, with a star for each part in angle brackets."""
    if what == "keys":
        found = re.findall(r"^\| `([^`]+)` \|", _section(), re.MULTILINE)
    else:
        found = re.findall(r"`(channel:[^`]+)`", _section().partition("\nChannels")[2])
    assert found
    return {re.sub(r"<[^>]+>", "*", key) for key in found}


def _written() -> dict[str, str]:
    """Every key in Lua and Python, with a star for each part that is computed, and the file it is in."""
    keys: dict[str, str] = {}
    for path in sorted((STORE / "lua").rglob("*.lua")):
        for key in _lua_keys(path.read_text("utf-8")):
            keys.setdefault(key, path.name)
    for path in [*sorted(STORE.rglob("*.py")), SHARED / "queue.py"]:
        for key in _python_keys(ast.parse(path.read_text("utf-8"))):
            keys.setdefault(key, path.name)
    return keys


def _lua_keys(text: str) -> list[str]:
    text = re.sub(r"--.*", "", text).replace("KEYS[1]", "P")
    keys = []
    for start in re.finditer(r"\bP \.\. ", text):
        key, rest = "", text[start.end() :]
        while True:
            literal = re.match(r"'([^']*)'", rest)
            name = re.match(r"[\w.]+(\[[^\]]+\])*(\([^)]*\))?", rest)
            found = literal or name
            assert found, f"cannot read a key at {rest[:40]!r}"
            key += literal[1] if literal else "*"
            rest = rest[found.end() :]
            following = re.match(r"\s*\.\.\s*", rest)
            if not following:
                break
            rest = rest[following.end() :]
        if key.startswith(":") and key != ":*":  # a key that a caller put together
            keys.append(key[1:])
    assert not re.search(r"\bP\.\.", text), "write P .. with spaces, so that keys are found"
    return keys


def _python_keys(tree: ast.AST) -> list[str]:
    keys = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Key", "RawKey"):
            key = _text(node.args[0])
            if key != "*":
                keys.append(key)
    return keys


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return node.value.decode() if isinstance(node.value, bytes) else str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "*" for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return "*"


def _covers(row: str, key: str) -> bool:
    """Whether *key* is one that *row* describes, or the beginning of one (which the code then goes on from)."""
    pattern = ".+".join(re.escape(part) for part in row.split("*"))
    filled = key.replace("*", "\1")
    if re.fullmatch(pattern, filled, re.DOTALL):
        return True
    prefix = key.rstrip("*").rstrip(":")
    return row.startswith(prefix) and key != row and "*" in row and row[len(prefix)] in ":."
