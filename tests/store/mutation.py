"""
Planting faults: small textual changes of the scripts, each of which some test must notice.

A test is only as good as the faults it kills. ``planted`` puts one fault in place for as long as its ``with`` lasts.
The text it replaces must be there exactly once, so that no fault plants nothing after a script was changed.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shared.store.redis import scripts


class Mutant(NamedTuple):
    """
    ``old`` is replaced by ``new`` in a script or library (``file``: ``end``, ``lib/plan``); ``killer`` notices it, or
    (None) the state machine does.
    """

    name: str
    file: str
    old: str
    new: str
    killer: Callable[..., Any] | None = None


@contextmanager
def planted(mutant: Mutant, folder: Path) -> Iterator[None]:
    """The scripts with this fault in them; *folder* is empty and may be written to."""
    copy = folder / "lua"
    shutil.copytree(scripts.FOLDER, copy)
    path = (
        copy / f"{mutant.file}.lua"
        if "/" in mutant.file
        else copy / scripts.path_of(mutant.file).relative_to(scripts.FOLDER)
    )
    text = path.read_text("utf-8")
    assert text.count(mutant.old) == 1, f"{mutant.name}: the text to replace is there {text.count(mutant.old)} times"
    path.write_text(text.replace(mutant.old, mutant.new), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scripts, "FOLDER", copy)
        _forget_loaded()
        try:
            yield
        finally:
            _forget_loaded()


def _forget_loaded() -> None:
    scripts.script.cache_clear()
    scripts._library.cache_clear()
