"""How scripts are put together: libraries in order, hooks, literals; and that the core names no dialect."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.runs import FIELDS, Reason, Status
from shared.store.redis import scripts
from shared.store.redis.scripts import FOLDER, compose, declared, script_names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder of libraries in place of the store's."""
    for name in ("lib", "dialects/lib"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(scripts, "FOLDER", tmp_path)
    scripts._library.cache_clear()
    yield tmp_path
    scripts._library.cache_clear()


def _text(own: str) -> list[str]:
    return compose("own", own).text.decode().splitlines()


def test_a_library_comes_once_and_after_those_that_it_uses(folder: Path) -> None:
    (folder / "lib/low.lua").write_text("-- the lowest\nlocal low = 1\n")
    (folder / "lib/left.lua").write_text("-- uses: low\nlocal left = low\n")
    (folder / "lib/right.lua").write_text("-- uses: left low\nlocal right = left + low\n")
    own = "-- flags: no-writes allow-oom\n-- uses: right left\nreturn right"
    assert _text(own) == [
        "#!lua flags=no-writes,allow-oom",
        "local low = 1",
        "local left = low",
        "local right = left + low",
        "return right",
    ]


def test_a_library_that_does_not_exist_is_named_with_its_user(folder: Path) -> None:
    (folder / "lib/one.lua").write_text("-- uses: nowhere\n")
    with pytest.raises(ValueError, match=r"^one\.lua uses nowhere, which is no library in .+$"):
        compose("own", "-- uses: one")


def test_libraries_that_use_one_another_are_named(folder: Path) -> None:
    (folder / "lib/one.lua").write_text("-- uses: two\n")
    (folder / "lib/two.lua").write_text("-- uses: one\n")
    with pytest.raises(ValueError, match=r"^libraries of own\.lua use one another in a circle: \w+ > \w+ > \w+$"):
        compose("own", "-- uses: one")


def test_a_hook_calls_all_that_fill_it_and_may_be_empty(folder: Path) -> None:
    (folder / "dialects/lib/ours.lua").write_text("-- fills: on_end=ours on_start=ours\nlocal function ours() end")
    (folder / "dialects/lib/theirs.lua").write_text("-- fills: on_end=theirs\nlocal function theirs() end")
    assert _text("-- uses: on_go")[1:] == ["local function on_go(...)", "end"]
    assert _text("-- uses: on_end")[1:] == [
        "local function ours() end",
        "local function theirs() end",
        "local function on_end(...)",
        "  ours(...)",
        "  theirs(...)",
        "end",
    ]


@pytest.mark.parametrize("unknown", ["F.colour", "S.finished", "R.bored"])
def test_a_name_that_does_not_exist_is_refused(unknown: str) -> None:
    with pytest.raises(KeyError):
        compose("own", f"return {unknown}")


def test_fields_statuses_and_reasons_become_literals() -> None:
    own = "return {r[F.status], S.pending, R.log_overflow}"
    assert _text(own)[1] == f"return {{r[{FIELDS.index('status') + 1}], 'pending', 'log_overflow'}}"


@pytest.mark.parametrize("name", script_names())
def test_every_script_can_be_put_together(name: str) -> None:
    assert scripts.script(name).text.startswith(b"#!lua")


def test_the_core_names_no_dialect() -> None:
    files = [*FOLDER.glob("core/*.lua"), *FOLDER.glob("lib/*.lua")]
    dialects = {path.stem for path in FOLDER.glob("dialects/lib/*.lua")}
    word = re.compile(r"(?<![a-z])(ona|prefect|marquez|openlineage)(?![a-z])", re.IGNORECASE)
    named = {path.name: found for path in files if (found := word.findall(path.read_text("utf-8")))}
    used = {path.name: dialects.intersection(declared(path.read_text("utf-8"), "uses")) for path in files}
    assert (named, {name for name, libraries in used.items() if libraries}) == ({}, set())


def test_every_hook_that_is_filled_is_called() -> None:
    filled = {word.partition("=")[0] for path in FOLDER.rglob("*.lua") for word in declared(path.read_text(), "fills")}
    called = {
        word for path in FOLDER.rglob("*.lua") for word in declared(path.read_text(), "uses") if word[:3] == "on_"
    }
    assert filled == called


def test_no_script_writes_a_status_or_a_reason_down() -> None:
    states = "|".join([*Status, *Reason])
    word = re.compile(rf"'({states})'|':({states})[:']")
    lines = {line for path in FOLDER.rglob("*.lua") for line in path.read_text("utf-8").splitlines()}
    assert [line for line in lines if word.search(line.partition("--")[0])] == []
