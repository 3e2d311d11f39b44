"""CONTRIBUTING.md names files, folders and targets that there are."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def test_every_file_that_it_names_is_there() -> None:
    named = {name for name in re.findall(r"`([\w./-]+/[\w./-]*|[\w-]+\.md)`", PAGE) if "<" not in name}
    assert len(named) > 12
    assert (
        sorted(name for name in named if not (ROOT / name).exists() and not (ROOT / "shared/store" / name).exists())
        == []
    )


def test_every_target_that_it_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"`make (\w+)`", PAGE))
    assert len(targets) >= 5
    assert sorted(name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)) == []
