"""The dashboard that is committed was built from the source beside it, and is complete."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

from api.dashboard.serving import BUILT, OPTIONAL, PAGES

ROOT = Path(__file__).parents[2]
UI = ROOT / "api" / "dashboard" / "ui"
MOST_LINES = 250


def sources() -> list[Path]:
    """The files of ``ui/`` that are committed."""
    return sorted(path for path in UI.rglob("*") if path.is_file() and "node_modules" not in path.parts)


def test_what_is_built_is_of_the_source_beside_it() -> None:
    lines = sorted(
        (path.relative_to(UI).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()) for path in sources()
    )
    digest = hashlib.sha256("".join(f"{of}  {name}\n" for name, of in lines).encode()).hexdigest()
    assert (BUILT / "SOURCE").read_text("utf-8").strip() == digest, "run `make dashboard` and commit what it builds"


def test_every_file_has_its_packed_form() -> None:
    plain = {path for path in BUILT.rglob("*") if path.is_file() and path.suffix != ".gz" and path.name != "SOURCE"}
    assert {path: gzip.decompress(Path(f"{path}.gz").read_bytes()) for path in plain} == {
        path: path.read_bytes() for path in plain
    }
    assert len(list(BUILT.rglob("*.gz"))) == len(plain)


def test_the_server_knows_the_pages_that_the_router_knows() -> None:
    routes = re.findall(r'path: "(/[^"]*)", section', (UI / "src/routes.ts").read_text("utf-8"))
    assert sorted([*routes, "/sign-in"]) == sorted(re.sub(r":\w+", "", path) for path in PAGES)


def test_calls_that_may_be_missing_are_asked_for_by_name() -> None:
    texts = "".join(path.read_text("utf-8") for path in sources() if path.suffix in (".ts", ".svelte"))
    assert [path for path in OPTIONAL if f'"{path}"' not in texts] == []


def test_the_source_is_in_small_files_without_escape_hatches() -> None:
    written = [
        path
        for path in sources()
        if path.suffix in (".ts", ".svelte", ".css") and path.name != "schema.d.ts" and "test" not in path.suffixes
    ]
    assert [path.name for path in written if len(path.read_text("utf-8").splitlines()) > MOST_LINES] == []
    banned = re.compile(r"\bas any\b|: any\b|<any>|@ts-ignore|@ts-nocheck|\{@html|\bstyle=\"")
    assert [path.name for path in written if banned.search(path.read_text("utf-8"))] == []


def test_the_lock_file_names_no_registry() -> None:
    assert not re.search(r'"resolved"|registry\.', (UI / "package-lock.json").read_text("utf-8"))
