"""The generated parts of ``shared/store/README.md``: the chart of transitions, and the table of scripts."""

from __future__ import annotations

import re

from shared.runs import TRANSITIONS, Reason
from shared.store.redis.scripts import path_of, script_names


def data_model(page: str) -> str:
    """*page* with its generated parts made anew. Raises ValueError when the marks around one are missing."""
    for part, text in {"transitions": state_chart(), "scripts": scripts_table()}.items():
        begin, end = f"<!-- {part}: made by `make docs` -->\n", f"<!-- end of {part} -->\n"
        if page.count(begin) != 1 or end not in page.partition(begin)[2]:
            raise ValueError(f"the page has no {begin.strip()} … {end.strip()}")
        before, _, rest = page.partition(begin)
        page = before + begin + text + end + rest.partition(end)[2]
    return page


def state_chart() -> str:
    """The table of transitions as a chart, an edge a row."""
    edges = ""
    for name, rows in TRANSITIONS.items():
        for row in rows:
            reasons = ", ".join(reason for reason in Reason if reason in row.reasons)
            edges += f"    {row.source or '[*]'} --> {row.target or '[*]'}: {name}{reasons and ' as '}{reasons}\n"
    return f"```mermaid\nstateDiagram-v2\n{edges}```\n"


def scripts_table() -> str:
    """The scripts, each with the first sentence of its header."""
    rows = "".join(f"| `{name}` | {_sentence(name)} |\n" for name in script_names())
    return "| script | does |\n| --- | --- |\n" + rows


def _sentence(name: str) -> str:
    lines = path_of(name).read_text().splitlines()
    header = " ".join(line.removeprefix("--").strip() for line in lines if line.startswith("--"))
    found = re.match(r"(.+?[.;:])(?= |$)", header)
    return (found[1] if found else header).rstrip(".;:").replace("|", "\\|")
