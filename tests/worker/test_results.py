"""What a run hands on."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from worker.execution.results import FILE_BYTES, OUTPUT_CHARACTERS, OUTPUT_KEYS, RETURN_BYTES, RETURN_DEPTH, collect
from worker.logs.masking import NOTHING, Mask
from worker.processes.handle import Exit

Found = tuple[dict[str, Any], list[str]]


def collected(path: Path, result: bytes | None = None, *secrets: str) -> Found:
    """The outputs, and what was said about them."""
    said: list[str] = []
    exit_ = None if result is None else Exit(code=0, result=result)
    return collect(str(path), exit_, Mask(secrets) if secrets else NOTHING, said.append), said


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_lines_of_the_file_and_the_returned_value_become_outputs(file: Path) -> None:
    file.write_text("rows=12\npath=/a=b\n\n empty=\n")
    assert collected(file, b'{"n": 1}') == ({"return": {"n": 1}, "rows": "12", "path": "/a=b", "empty": ""}, [])
    assert not file.exists()


def test_no_file_is_no_output(file: Path) -> None:
    assert collected(file) == ({}, [])


def test_lines_that_are_no_pair_are_named_by_number(file: Path) -> None:
    file.write_text("rows=12\nno pair\n=no key\n")
    found, said = collected(file)
    assert found == {"rows": "12"}
    assert said == ["2 lines (the first is line 2) of $RUNFLEET_OUTPUT left out: write key=value, one to a line"]


def test_too_many_and_too_long_ones_are_left_out_in_one_sentence(file: Path) -> None:
    file.write_text(f"long={'x' * (OUTPUT_CHARACTERS + 1)}\n" + "".join(f"k{n}=v\n" for n in range(OUTPUT_KEYS + 9)))
    found, said = collected(file)
    assert found == {f"k{n}": "v" for n in range(OUTPUT_KEYS)}
    assert said == ["output long and 9 more left out: at most 64 of 4096 characters each"]


def test_a_key_may_be_written_again_when_all_places_are_taken(file: Path) -> None:
    file.write_text("".join(f"k{n}=v\n" for n in range(OUTPUT_KEYS)) + "k0=last\n")
    assert collected(file)[0]["k0"] == "last"


def test_the_first_whole_lines_of_a_file_that_is_too_large_are_taken(file: Path) -> None:
    line = "key=" + "x" * 2000 + "\n"
    file.write_text("first=1\n" + line * (FILE_BYTES // len(line) + 1))
    found, said = collected(file)
    assert found == {"first": "1", "key": "x" * 2000}
    assert said == [
        f"$RUNFLEET_OUTPUT has more than {FILE_BYTES} bytes: only the lines in the first {FILE_BYTES} were taken"
    ]


def test_bytes_that_are_no_text_do_no_harm(file: Path) -> None:
    file.write_bytes(b"a=\xff\xfe\nb=2\n")
    assert collected(file)[0] == {"a": "��", "b": "2"}


def test_a_secret_is_masked_before_a_line_is_split(file: Path) -> None:
    url, key = "postgres://me:pw@db/x?sslmode=require", "c2VjcmV0IGtleQ=="
    file.write_text(f"{url}\nurl={url}\n{key}=1\n{key}\n")
    found, said = collected(file, msgspec.json.encode({url: [key]}), url, key)
    assert found == {"return": {"[redacted]": ["[redacted]"]}, "url": "[redacted]", "[redacted]": "1"}
    assert said == ["2 lines (the first is line 1) of $RUNFLEET_OUTPUT left out: write key=value, one to a line"]


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_is_no_plain_file_is_not_read_and_is_removed(file: Path, kind: str) -> None:
    target = file.with_name("target")
    target.write_text("stolen=yes\n")
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "link":
        file.symlink_to(target)
    else:
        (file / "deep").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    found, said = collected(file)
    assert found == {}
    assert len(said) == 1
    assert "$RUNFLEET_OUTPUT" in said[0]
    assert len(os.listdir("/proc/self/fd")) == before
    assert not os.path.lexists(file)
    assert target.read_text() == "stolen=yes\n"


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (b'"' + b"x" * RETURN_BYTES + b'"', "its JSON has more than 256 KiB"),
        (b"[" * (RETURN_DEPTH + 1) + b"]" * (RETURN_DEPTH + 1), "it is nested more than 100 deep"),
        (b"[" * 100_000, "it is nested more than 100 deep"),
        (b'{"a": ', "it is not JSON"),
        (b'"\xff"', "it is not JSON"),
    ],
)
def test_a_returned_value_that_cannot_be_kept_is_left_out_in_words(file: Path, result: bytes, why: str) -> None:
    file.write_text("still=there\n")
    found, said = collected(file, result)
    assert found == {"still": "there"}
    assert len(said) == 1
    assert said[0].startswith(f"the returned value was left out: {why}")


def test_brackets_in_texts_are_no_depth(file: Path) -> None:
    text = '[{"' * 200
    deep = msgspec.json.encode([[[text]]])
    assert collected(file, deep) == ({"return": [[[text]]]}, [])
    assert collected(file, b"[" * RETURN_DEPTH + b"]" * RETURN_DEPTH)[1] == []
