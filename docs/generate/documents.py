"""Which documents are generated, or parts of which, each with its text."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from docs.generate.data_model import keys_table, scripts_table, state_chart
from docs.generate.faults import faults_table
from docs.generate.settings import env_example, settings_table
from docs.generate.task_file import task_file_keys
from shared.store.events import TYPES
from shared.telemetry import EVENTS

ROOT: Final = Path(__file__).parents[2]
PARTS: Final[dict[str, dict[str, Callable[[str], str]]]] = {
    "docs/events.md": {"log": lambda _: _rows(EVENTS), "stream": lambda _: _rows(TYPES)},
    "docs/settings.md": {"settings": settings_table},
    "docs/taskfile.md": {"keys": task_file_keys},
    "shared/store/README.md": {"transitions": state_chart, "keys": keys_table, "scripts": scripts_table},
}
"""The generated parts of each document: what makes them of what they are now. The rest is written by hand."""


def documents(measurements: Iterable[str] = ()) -> dict[str, str]:
    """Path in the checkout → the text that the file should have. *measurements* are lines for ``docs/faults.md``."""
    parts = {**PARTS, "docs/faults.md": {"faults": lambda old: faults_table(old, measurements)}}
    made = {path: _with_parts((ROOT / path).read_text("utf-8"), of_page) for path, of_page in parts.items()}
    return {".env.example": env_example(), **made}


def _with_parts(page: str, parts: dict[str, Callable[[str], str]]) -> str:
    """*page* with its generated parts made anew. Raises ValueError when the marks around one are missing."""
    for part, made in parts.items():
        begin, end = f"<!-- {part}: made by `make docs` -->\n", f"<!-- end of {part} -->\n"
        if page.count(begin) != 1 or end not in page.partition(begin)[2]:
            raise ValueError(f"the page has no {begin.strip()} … {end.strip()}")
        before, _, rest = page.partition(begin)
        old, _, after = rest.partition(end)
        page = before + begin + made(old) + end + after
    return page


def _rows(table: dict[str, str]) -> str:
    rows = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in sorted(table.items()))
    return f"| {'type' if table is TYPES else 'event'} | meaning |\n| --- | --- |\n{rows}"
