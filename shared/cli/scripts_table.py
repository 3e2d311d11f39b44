"""The generator of the table of scripts in ``shared/store/README.md``, from their headers."""

from __future__ import annotations

import re

from shared.store.redis.scripts import path_of, script_names

BEGIN = "<!-- scripts: made by `make docs` -->\n"
END = "<!-- end of scripts -->\n"


def scripts_table() -> str:
    """The table, with its heading."""
    rows = "".join(f"| `{name}` | {_sentence(name)} |\n" for name in script_names())
    return "| script | does |\n| --- | --- |\n" + rows


def with_scripts(page: str) -> str:
    """*page* with a new table between the two marks. Raises ValueError when a mark is missing."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or END not in rest:
        raise ValueError(f"the page has no {BEGIN.strip()} … {END.strip()}")
    return before + BEGIN + scripts_table() + END + after


def _sentence(name: str) -> str:
    lines = path_of(name).read_text().splitlines()
    header = " ".join(line.removeprefix("--").strip() for line in lines if line.startswith("--"))
    found = re.match(r"(.+?[.;:])(?= |$)", header)
    return (found[1] if found else header).rstrip(".;:").replace("|", "\\|")
