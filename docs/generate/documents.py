"""Which documents are generated, each with its text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from docs.generate.data_model import data_model
from docs.generate.events_page import events_page
from docs.generate.faults_page import faults_page
from docs.generate.settings_page import env_example, settings_page
from docs.generate.taskfile_page import taskfile_page

ROOT: Final = Path(__file__).parents[2]


def documents(measurements: Iterable[str] = ()) -> dict[str, str]:
    """Path in the checkout → the text that the file should have. *measurements* are lines for ``docs/faults.md``."""
    faults, model = "docs/faults.md", "shared/store/README.md"
    return {
        ".env.example": env_example(),
        "docs/events.md": events_page(),
        faults: faults_page((ROOT / faults).read_text("utf-8"), measurements),
        "docs/settings.md": settings_page(),
        "docs/taskfile.md": taskfile_page(),
        model: data_model((ROOT / model).read_text("utf-8")),
    }
