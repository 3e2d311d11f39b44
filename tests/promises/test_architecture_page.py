"""``docs/architecture.md`` leads to files that there are, and its glossary has the terms of the product."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
TERMS_MAX = 30


def test_every_file_of_the_way_of_a_run_is_there() -> None:
    way = PAGE.partition("## The way of a run")[2].partition("\n## ")[0]
    named = re.findall(r"`([\w/.-]+\.(?:py|lua))`", way)
    assert len(named) > 20
    everything = [str(path.relative_to(ROOT)) for path in ROOT.glob("*/**/*.py")]
    everything += [str(path.relative_to(ROOT)) for path in ROOT.glob("shared/**/*.lua")]
    assert [name for name in named if not any(path.endswith(f"/{name}") or path == name for path in everything)] == []


def test_the_glossary_is_short_and_names_each_term_once() -> None:
    glossary = PAGE.partition("## Glossary")[2].partition("\n## ")[0]
    terms = re.findall(r"^\| ([a-z][a-z -]*) \|", glossary, re.MULTILINE)[1:]
    assert 20 < len(terms) <= TERMS_MAX
    assert len(terms) == len(set(terms))
