"""What the README shows works, and what it points to is there."""

import re
from pathlib import Path

from shared.cli import COMMANDS
from shared.config import read_config

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_task_file_of_the_readme_is_right(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert example
    path = tmp_path / "runfleet.toml"
    path.write_text(example[1], "utf-8")
    assert list(read_config(path, {}).tasks) == ["report", "shard"]


def test_every_command_of_the_readme_exists() -> None:
    assert set(re.findall(r"(?:^|`)runfleet (\w+)", README, re.MULTILINE)) <= COMMANDS.keys()


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    folders = re.findall(r"^\| `([a-z]+/)`", README, re.MULTILINE)
    assert [place for place in links + folders if not (ROOT / place).exists()] == []


def test_every_target_of_make_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make (\w+)", README, re.MULTILINE)) <= targets
