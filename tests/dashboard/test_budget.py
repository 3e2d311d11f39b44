"""The first page that somebody opens weighs little."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from api.dashboard.serving import BUILT

MOST_JS: Final = 60_000
MOST_CSS: Final = 12_000


def packed(name: str) -> int:
    return Path(f"{BUILT / name}.gz").stat().st_size


def needed_by(page: str) -> set[str]:
    """The files that a browser loads for a page: those of the index, of the page, and what they import."""
    index = (BUILT / "index.html").read_text("utf-8")
    wanted = set(re.findall(r'(?:src|href)="\./([^"]+\.(?:js|css))"', index))
    assets = {path.name for path in (BUILT / "assets").iterdir() if path.suffix in (".js", ".css")}
    wanted |= {f"assets/{name}" for name in assets if re.match(rf"(?:{page}|shared)-", name)}
    seen: set[str] = set()
    while wanted - seen:
        name = min(wanted - seen)
        seen.add(name)
        if name.endswith(".js"):
            text = (BUILT / name).read_text("utf-8")
            static = re.findall(r'(?:from|import)\s*"\./([^"]+\.js)"', text)
            wanted |= {f"assets/{found}" for found in static if found in assets}
            if not name.startswith("assets/index-"):
                continue
            # What the index loads with the page: a list beside its import.
            wanted |= {f"assets/{found}" for found in assets if found.endswith(".css") and found.startswith(f"{page}-")}
    return wanted


@pytest.mark.parametrize("page", ["Run", "Overview", "Runs", "Tasks", "Task", "Fleet"])
def test_the_first_load_of_a_page_is_small(page: str) -> None:
    files = needed_by(page)
    sizes = {kind: sum(packed(name) for name in files if name.endswith(kind)) for kind in (".js", ".css")}
    assert any(name.startswith(f"assets/{page}-") for name in files)
    assert sizes[".js"] <= MOST_JS, files
    assert sizes[".css"] <= MOST_CSS, files
