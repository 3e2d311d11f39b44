"""``docs/architecture.md`` leads to files that there are, and its glossary has the terms of the product."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
TERMS_MAX = 30


def test_every_file_of_the_way_of_a_run_is_there() -> None:
    way = PAGE.partition("## The path of a run")[2].partition("\n## ")[0]
    named = re.findall(r"`([\w/.-]+\.(?:py|lua))`", way)
    assert len(named) > 20
    everything = [str(path.relative_to(ROOT)) for path in ROOT.glob("*/**/*.py")]
    everything += [str(path.relative_to(ROOT)) for path in ROOT.glob("shared/**/*.lua")]
    assert [name for name in named if not any(path.endswith(f"/{name}") or path == name for path in everything)] == []


def test_the_glossary_is_short_and_explains_each_term_once_also_in_words_of_others() -> None:
    glossary = PAGE.partition("## Glossary")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z][a-z -]*) \| (.*?) \| (.*?) \|$", glossary, re.MULTILINE)[1:]
    terms = [term for term, _, _ in rows]
    assert 20 < len(terms) <= TERMS_MAX
    assert len(terms) == len(set(terms))
    assert [term for term, meaning, elsewhere in rows if not (meaning.strip() and elsewhere.strip())] == []


def test_the_code_uses_each_term_of_the_glossary() -> None:
    glossary = PAGE.partition("## Glossary")[2].partition("\n## ")[0]
    terms = re.findall(r"^\| ([a-z][a-z -]*) \|", glossary, re.MULTILINE)[1:]
    folders = [ROOT / name for name in ("api", "scheduler", "shared", "worker")]
    paths = [path for folder in folders for kind in ("py", "lua") for path in folder.rglob(f"*.{kind}")]
    code = "\n".join(path.read_text("utf-8") for path in paths).lower()
    assert [term for term in terms if not re.search(re.sub("[ -]", "[ _-]?", term), code)] == []
