"""A scheduler's task file: applied while it leads and when it is newer, written back after a wipe. Step by step."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
import redis

from scheduler.taskfile import TaskFile
from shared import ops
from shared.config import read_config
from shared.errors import Misconfigured
from shared.settings import Settings
from shared.store import applying, tasks, version
from shared.store.redis.sync_store import Store

ONE = '[tasks.one]\nrun = "true"\n'
TWO = ONE + '[tasks.two]\nrun = "true"\n'
FIVE = "".join(f'[tasks.t{number}]\nrun = "true"\n' for number in range(5))


class Scheduler:
    """What a scheduler has to do with its file, without its loop."""

    def __init__(self, settings: Settings, store: Store, path: Path, *, leads: bool = True) -> None:
        self.leads = leads
        self.store = store
        self.path = path
        self.file = TaskFile(msgspec.structs.replace(settings, config=str(path)), store, "me", lambda: self.leads)

    def start(self) -> Scheduler:
        self.file.read()
        self.file.see_to()
        return self

    def write(self, text: str, *, at_s: int) -> None:
        self.path.write_text(text)
        os.utime(self.path, (at_s, at_s))

    def names(self) -> list[str]:
        return self.store.run(tasks.names())


@pytest.fixture
def made(settings: Settings, store: Store, tmp_path: Path) -> Scheduler:
    return Scheduler(settings, store, tmp_path / "runfleet.toml")


def apply(store: Store, folder: Path, text: str, *, at_s: int) -> None:
    """As `runfleet apply` does it elsewhere."""
    path = folder / "elsewhere.toml"
    path.write_text(text)
    os.utime(path, (at_s, at_s))
    store.run(ops.apply_config(read_config(path, {}), by="ops@ci", allow_removals=True))


def wipe(settings: Settings) -> None:
    with redis.Redis.from_url(settings.redis_url) as client:
        client.flushall()


def test_a_file_that_cannot_be_looked_at_ends_nothing(made: Scheduler) -> None:
    """Who reads it again is the thread that hears SIGTERM, too."""
    made.path = made.path.with_name("x" * 300)
    made.file = TaskFile(Settings(config=str(made.path)), made.store, "me", lambda: True)
    made.file.read_again()
    assert made.start().names() == []


def test_a_leader_applies_its_file(made: Scheduler) -> None:
    made.write(ONE, at_s=100)
    assert made.start().names() == ["one"]
    last = made.store.run(applying.generation())
    assert last is not None
    assert (last.number, last.by, last.modified_us) == (1, "me", 100_000_000)


def test_a_standby_applies_nothing_until_it_leads(made: Scheduler) -> None:
    made.write(ONE, at_s=100)
    made.leads = False
    assert made.start().names() == []
    made.leads = True
    made.file.see_to()
    assert made.names() == ["one"]


def test_an_older_file_is_ignored_and_logged(
    made: Scheduler, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(made.store, tmp_path, TWO, at_s=200)
    made.write(ONE, at_s=100)
    assert made.start().names() == ["one", "two"]
    assert "definitions.left_alone" in capsys.readouterr().out


def test_an_empty_file_removes_nothing(made: Scheduler, tmp_path: Path) -> None:
    apply(made.store, tmp_path, ONE, at_s=100)
    made.write("", at_s=200)
    assert made.start().names() == ["one"]


def test_a_file_that_cannot_be_read_removes_nothing(made: Scheduler, tmp_path: Path) -> None:
    apply(made.store, tmp_path, ONE, at_s=100)
    made.write("[tasks", at_s=200)
    assert made.start().names() == ["one"]
    made.path.unlink()
    made.file.read_again()
    made.file.see_to()
    assert made.names() == ["one"]


def test_a_newer_file_that_removes_most_tasks_is_left(made: Scheduler, tmp_path: Path) -> None:
    apply(made.store, tmp_path, FIVE, at_s=100)
    made.write(ONE, at_s=200)
    assert len(made.start().names()) == 5


def test_a_file_that_is_missing_is_a_warning_and_none_at_all_is_not(
    made: Scheduler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def level_of(file: TaskFile) -> str:
        capsys.readouterr()
        file.read()
        line = next(line for line in capsys.readouterr().out.splitlines() if "definitions.absent" in line)
        return "warning" if "warning" in line else "info"

    monkeypatch.chdir(tmp_path)
    by_default = TaskFile(Settings(), made.store, "me", lambda: True)
    assert level_of(by_default) == "info"
    assert level_of(made.file) == "warning", "it was named"
    made.write(ONE, at_s=100)
    by_default.read()
    made.path.unlink()
    assert level_of(by_default) == "warning", "it had been there"


def test_the_file_is_read_again_when_asked(made: Scheduler) -> None:
    made.write(ONE, at_s=100)
    made.start()
    made.write(TWO, at_s=200)
    made.file.see_to()
    assert made.names() == ["one"]  # nothing watches it
    made.file.read_again()
    made.file.see_to()
    assert made.names() == ["one", "two"]


def test_a_file_read_again_that_is_wrong_changes_nothing_and_the_next_does(made: Scheduler) -> None:
    made.write(ONE, at_s=100)
    made.start()
    made.write("[tasks", at_s=200)
    made.file.read_again()
    made.file.see_to()
    assert made.names() == ["one"]
    made.write(TWO, at_s=300)
    made.file.read_again()
    made.file.see_to()
    assert made.names() == ["one", "two"]


def test_a_wiped_store_gets_what_was_applied_last_not_what_was_read_first(
    made: Scheduler, tmp_path: Path, settings: Settings
) -> None:
    made.write(ONE, at_s=100)
    made.start()
    apply(made.store, tmp_path, TWO, at_s=200)
    made.file.see_to()
    wipe(settings)
    made.file.see_to()
    assert made.names() == ["one", "two"]


def test_a_wiped_store_gets_its_layout_back(made: Scheduler, settings: Settings) -> None:
    made.write(ONE, at_s=100)
    made.start()
    assert made.store.run(version.found()) == version.SCHEMA
    wipe(settings)
    made.file.see_to()
    assert made.store.run(version.found()) == version.SCHEMA


def test_the_tasks_of_a_wiped_store_are_not_written_into_a_newer_layout(made: Scheduler, settings: Settings) -> None:
    made.write(ONE, at_s=100)
    made.start()
    wipe(settings)
    with redis.Redis.from_url(settings.redis_url) as client:
        client.set(f"{settings.key_prefix}:version", version.SCHEMA + 1)
    with pytest.raises(Misconfigured, match="newer release"):
        made.file.see_to()
    assert made.names() == []


def test_a_pause_survives_a_wipe(made: Scheduler, settings: Settings) -> None:
    made.write(ONE, at_s=100)
    made.start()
    made.store.run(tasks.pause("one", True))
    made.file.see_to()
    wipe(settings)
    made.file.see_to()
    (entry,) = made.store.run(tasks.entries())
    assert entry.paused


def test_a_standby_writes_nothing_back_until_it_leads(made: Scheduler, tmp_path: Path, settings: Settings) -> None:
    apply(made.store, tmp_path, TWO, at_s=200)
    made.leads = False
    made.start()
    wipe(settings)
    made.file.see_to()
    assert made.names() == []
    made.leads = True
    made.file.see_to()
    assert made.names() == ["one", "two"]


def test_what_was_written_back_is_no_reason_to_apply_an_older_file(
    made: Scheduler, tmp_path: Path, settings: Settings
) -> None:
    made.write(ONE, at_s=100)
    made.start()
    apply(made.store, tmp_path, TWO, at_s=200)
    made.file.see_to()
    wipe(settings)
    made.file.see_to()
    made.file.read_again()
    made.file.see_to()
    assert made.names() == ["one", "two"]
