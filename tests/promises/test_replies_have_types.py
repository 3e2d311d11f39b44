"""No result of a store call is ``Any`` in the product: each call says how its reply is read."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNTYPED = re.compile(r"\bas_is\b|^def \w+\(.*\) -> (Call|Batch|Operation)\[Any\]", re.MULTILINE)


def test_no_reply_is_passed_on_unread() -> None:
    files = [path for package in ("api", "worker", "scheduler", "shared") for path in (ROOT / package).rglob("*.py")]
    found = {path.name for path in files if UNTYPED.search(path.read_text("utf-8"))}
    assert found == {"call.py"}, "read the reply into a type (shared/store/redis/call.py)"
