"""The core of the store and the operations serve the APIs of other systems without knowing one by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import shared

SHARED = Path(shared.__file__).parent
CORE = sorted(
    str(path.relative_to(SHARED))
    for folder in ("store", "ops")
    for path in (SHARED / folder).rglob("*")
    if path.suffix in (".py", ".lua") and "dialects" not in path.relative_to(SHARED).parts
)


@pytest.mark.parametrize("name", CORE)
def test_no_dialect_is_named(name: str) -> None:
    text = (SHARED / name).read_text("utf-8")
    assert not re.findall(r"(?i)(?<![a-z])(ona|prefect|marquez|openlineage)(?![a-z])", text)
