"""The generator of ``shared/store/README.md``: the chart of transitions, the users of each key, and the scripts."""

import re
from collections.abc import Iterable, Mapping

from docs.generate.key_usage import READING, Use, uses
from shared.runs import TRANSITIONS, Reason, Status, Transition
from shared.store.redis.scripts import declared, path_of, script_names

BY_DRAMATIQ = "dramatiq:"
"""How the keys begin that Dramatiq itself reads and writes."""


def state_chart(_: str) -> str:
    """The table of transitions as a chart, an edge a row."""
    edges = ""
    for name, rows in TRANSITIONS.items():
        for row in rows:
            reasons = ", ".join(reason for reason in Reason if reason in row.reasons)
            edges += f"    {row.source or '[*]'} --> {row.target or '[*]'}: {name}{reasons and ' as '}{reasons}\n"
    return f"```mermaid\nstateDiagram-v2\n{edges}```\n"


def keys_table(old: str) -> str:
    """The table of keys, with *written by* and *read by* made anew; the other cells are those of *old*."""
    heading, rows = old.splitlines()[:2], old.splitlines()[2:]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    found = uses()
    written, read = _users([row[0].strip("`") for row in cells], found)
    rows_of_table = [row for rows_of_name in TRANSITIONS.values() for row in rows_of_name]
    groups = {
        "every script that changes a status": _performing(row for row in rows_of_table if row.source != row.target),
        "every script that ends runs": _performing(row for row in rows_of_table if row.target is Status.ENDED),
        "every script that may start a waiting execution": {
            user for user, of_user in found.items() if Use("ZREM", "limit:*:waiters") in of_user
        },
    }
    for row in cells:
        key = row[0].strip("`")
        row[3], row[4] = _names(written[key], key, groups), _names(read[key], key, groups)
        if row[3] == row[4] and "," in row[3]:
            row[4] = "the same"
    return "\n".join([*heading, *(f"| {' | '.join(row)} |" for row in cells), ""])


def _users(keys: list[str], found: Mapping[str, set[Use]]) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Key of the table → who writes it, and who reads it."""
    patterns = {key: re.sub(r"<[^>]+>", "*", key) for key in keys}
    written: dict[str, set[str]] = {key: set() for key in keys}
    read: dict[str, set[str]] = {key: set() for key in keys}
    for user, of_user in found.items():
        for use in of_user:
            same = [key for key in keys if patterns[key] == use.key]
            for key in same or [key for key in keys if use.key != "*" and may_be_same(use.key, patterns[key])]:
                (read if READING.fullmatch(use.command) else written)[key].add(user)
    return written, read


def may_be_same(one: str, other: str) -> bool:
    """Whether one text can match both patterns, in which a star stands for at least one character."""
    if not one or not other:
        return one == other
    if one[0] == "*":
        return any(may_be_same(one[1:], other[n:]) for n in range(1, len(other) + 1))
    if other[0] == "*":
        return may_be_same(other, one)
    return one[0] == other[0] and may_be_same(one[1:], other[1:])


def _performing(rows: Iterable[Transition]) -> set[str]:
    """The scripts that declare a transition with one of these rows."""
    wanted = set(rows)
    names = {name for name, rows_of_name in TRANSITIONS.items() if wanted.intersection(rows_of_name)}
    return {
        script for script in script_names() if names.intersection(declared(path_of(script).read_text(), "transitions"))
    }


def _names(users: set[str], key: str, groups: Mapping[str, set[str]]) -> str:
    named: list[str] = []
    for phrase, group in groups.items():
        if group <= users | set().union(*(groups[name] for name in named)) and group & users:
            named.append(phrase)
            users = users - group
    functions = sorted(name for name in users if name[0] == "`")
    dramatiq = ["Dramatiq"] if key.startswith(BY_DRAMATIQ) else []
    return ", ".join([*named, *sorted(users - set(functions)), *functions, *dramatiq])


def scripts_table(_: str) -> str:
    """The scripts, each with the first sentence of its header."""
    rows = "".join(f"| `{name}` | {_sentence(name)} |\n" for name in script_names())
    return "| script | does |\n| --- | --- |\n" + rows


def _sentence(name: str) -> str:
    lines = path_of(name).read_text().splitlines()
    header = " ".join(line.removeprefix("--").strip() for line in lines if line.startswith("--"))
    found = re.match(r"(.+?[.;:])(?= |$)", header)
    return (found[1] if found else header).rstrip(".;:").replace("|", "\\|")
