"""``docs/taskfile.md`` says what ``shared.config`` reads, and ``docs/concepts.md`` what the model knows."""

import re
from pathlib import Path

import pytest

from shared.config import read_config
from shared.config.keys import LIMIT_KEYS, NOTIFY_KEYS, TASK_KEYS
from shared.config.params import PARAM_KEYS
from shared.runs import Reason
from shared.settings import BEAT_MS, LEASE_MS

DOCS = Path(__file__).parents[2] / "docs"
TASK_FILE = (DOCS / "taskfile.md").read_text("utf-8")
CONCEPTS = (DOCS / "concepts.md").read_text("utf-8")


def test_every_key_stands_in_the_page_once() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", TASK_FILE, re.MULTILINE)
    assert rows == [*TASK_KEYS, *PARAM_KEYS, *LIMIT_KEYS, *NOTIFY_KEYS, "include"]


def test_every_row_of_the_page_has_four_cells() -> None:
    rows = [line for line in TASK_FILE.splitlines() if line.startswith("|")]
    assert [row for row in rows if row.count("|") != 5] == []


def test_the_example_of_the_page_is_right(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", TASK_FILE, re.DOTALL)
    assert example
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "more.toml").write_text('[tasks.more]\nrun = "date"\n', "utf-8")
    (tmp_path / "runfleet.toml").write_text(example[1], "utf-8")
    assert sorted(read_config(tmp_path / "runfleet.toml", {}).tasks) == ["import", "more", "report"]


def test_the_concepts_explain_every_end_reason() -> None:
    assert sorted(re.findall(r"^\| `(\w+)` \|", CONCEPTS, re.MULTILINE)) == sorted(Reason)


def test_the_concepts_know_how_long_a_lease_is() -> None:
    assert (BEAT_MS, f"for {LEASE_MS // 1000} seconds" in " ".join(CONCEPTS.split())) == (1000, True)


@pytest.mark.parametrize("page", ["concepts.md", "taskfile.md"])
def test_every_link_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (DOCS / page).read_text("utf-8"))
    assert [link for link in links if not (DOCS / link).exists()] == []
