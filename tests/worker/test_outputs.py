"""What a run hands on."""

from __future__ import annotations

import os
from pathlib import Path

from worker.outputs import OUTPUT_CHARACTERS, OUTPUT_KEYS, RETURN_BYTES, collect
from worker.process import Exit


def test_lines_of_the_file_and_the_returned_value_become_outputs(tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("rows=12\npath=/a=b\nno pair\n=no key\n empty=\n")
    found = collect(str(file), Exit(code=0, result=b'{"n": 1}'), None)
    assert found == {"return": {"n": 1}, "rows": "12", "path": "/a=b", "empty": ""}
    assert not file.exists()


def test_no_file_is_no_output(tmp_path: Path) -> None:
    assert collect(str(tmp_path / "out"), None, None) == {}


def test_too_many_and_too_long_ones_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text(f"long={'x' * (OUTPUT_CHARACTERS + 1)}\n" + "".join(f"k{n}=v\n" for n in range(OUTPUT_KEYS + 9)))
    found = collect(str(file), None, None)
    assert len(found) == OUTPUT_KEYS
    assert "long" not in found
    huge = Exit(code=0, result=b'"' + b"x" * RETURN_BYTES + b'"')
    assert collect(str(file), huge, None) == {}


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_bytes(b"a=\xff\xfe\nb=2\n")
    assert collect(str(file), None, None) == {"a": "��", "b": "2"}


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("/etc/hostname")
    assert collect(str(pipe), None, None) == {}
    assert collect(str(link), None, None) == {}
