"""Every key that the code uses is a row of the store's README, and every row is a key of the code."""

import re
from pathlib import Path

import shared.store
from docs.generate.data_model import may_be_same
from docs.generate.key_usage import uses

PAGE = (Path(shared.store.__file__).parent / "README.md").read_text("utf-8").partition("## Keys")[2]
ROWS = re.findall(r"^\| `([^`]+)` \|", PAGE.partition("\n## ")[0], re.MULTILINE)
CHANNELS = re.findall(r"`(channel:[^`]+)`", PAGE.partition("\n## ")[0])
PATTERNS = {name: re.sub(r"<[^>]+>", "*", name) for name in ROWS + CHANNELS}
USED = {use.key: user for user, found in uses().items() for use in found if use.key != "*"}


def test_every_key_of_the_code_is_in_the_table() -> None:
    missing = {
        key: user for key, user in USED.items() if not any(may_be_same(key, known) for known in PATTERNS.values())
    }
    assert not missing, f"no row of shared/store/README.md names {missing}"


def test_every_row_of_the_table_is_a_key_of_the_code() -> None:
    idle = [row for row, known in PATTERNS.items() if not any(may_be_same(key, known) for key in USED)]
    assert not idle, f"nothing uses {idle}"


def test_no_row_is_there_twice() -> None:
    assert len(ROWS) == len(set(ROWS))


def test_keys_are_found_through_local_names_and_parameters_of_functions() -> None:
    """Through functions of libraries, lists that loops go through, and functions that make a key."""
    found = {user: {(use.command, use.key) for use in of_user} for user, of_user in uses().items()}
    assert ("ZREM", "limit:*:waiters") in found["end"], "by finish_execution, admit, start_execution"
    assert ("GET", "catalog") in found["scheduler_poll"], "a function gets the end of the key"
    assert ("ZREM", "lineage:static") in found["trim_lineage_events"]
    assert ("ZREVRANGE", "executions:t:*") in found["`executions.page`"]
    assert ("BLPOP", "wake:scheduler") in found["`loop._block`"]
    assert not [use for use in found["prune"] if use[1].startswith("limit:")], (
        "it uses the library, not these functions"
    )
