"""
``make docs``: writes the generated documents.

``python -m docs.generate [measured.jsonl]``: the file has the measurements that tests append to when
``RUNFLEET_FAULTS_JSON`` names it; for rows of ``docs/faults.md`` without a new one the page keeps its numbers.
"""

import sys
from pathlib import Path

from docs.generate.documents import ROOT, documents


def main() -> None:
    """Write the files."""
    lines = [line for name in sys.argv[1:] for line in Path(name).read_text("utf-8").splitlines()]
    for path, text in documents(lines).items():
        (ROOT / path).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
