"""``docs/architecture.md`` says what each dependency and each extra is for."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_each_dependency_has_a_row_and_each_row_is_a_dependency() -> None:
    table = PAGE.partition("| dependency |")[2].partition("\n\n")[0]
    rows = set(re.findall(r"^\| ([a-z][a-z0-9-]*) \|", table, re.MULTILINE))
    assert rows == {re.split(r"[^a-z0-9-]", requirement, maxsplit=1)[0] for requirement in PROJECT["dependencies"]}


def test_each_extra_is_named() -> None:
    assert set(re.findall(r"`runfleet\[(\w+)\]`", PAGE)) == PROJECT["optional-dependencies"].keys()


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", PAGE)
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
