"""The check that a script changes runs only by transitions of the table, and only by those that its header declares."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shared.runs import TRANSITIONS, Status, Transition
from shared.store.redis.call import Call, as_is
from shared.store.redis.scripts import Script, compose, declared, path_of
from shared.store.redis.sync_store import Store

_STATES = """
-- flags: no-writes
if redis.call('DBSIZE') > 2000 then return false end
local states = {}
for _, key in ipairs(redis.call('KEYS', KEYS[1] .. ':run:*')) do
  local is_record, r = pcall(function() return cmsgpack.unpack(redis.call('GET', key)) end)
  if is_record and type(r) == 'table' then
    states[#states + 1] = {string.sub(key, -16), r[F.status], r[F.reason], r[F.stop_request]}
  end
end
return states
"""


class State(NamedTuple):
    """What a run's record says of its status; a ``status`` of None: there is no run."""

    status: str | None = None
    reason: str = ""
    stop_request: str = ""


def states(store: Store) -> dict[bytes, State] | None:
    """The state of every run whose record can be read; None of a store so large that looking takes long."""
    found = store.run(Call(compose("states", _STATES), (), as_is))
    if found is None:
        return None
    return {run: State(*(value.decode() for value in rest)) for run, *rest in found if _are_texts(rest)}


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, bytes) for value in values)


def transitions(script: str) -> list[str]:
    """Those that a script's header says it performs."""
    return declared(path_of(script).read_text("utf-8"), "transitions")


def writes(script: Script) -> bool:
    """Whether a script may change anything."""
    return b"no-writes" not in script.text.split(b"\n", 1)[0]


def check_changes(before: Mapping[bytes, State], after: Mapping[bytes, State], scripts: Iterable[str]) -> None:
    """Fail when a run changed between the two looks as none of *scripts* may change it."""
    named = {name for script in scripts for name in transitions(script)}
    rows = [row for name in named for row in TRANSITIONS[name]]
    absent = State()
    for run in before.keys() | after.keys():
        was, now = before.get(run, absent), after.get(run, absent)
        wrong = f"{', '.join(scripts)} changed run {run.hex()} from {was} to {now}; declared is {sorted(named)}"
        if (was.status, was.reason) != (now.status, now.reason):
            assert leads(rows, was.status, now), wrong
        elif was.status == "running" and was.stop_request != now.stop_request:
            assert "request_stop" in named, wrong


def leads(rows: Iterable[Transition], status: str | None, to: State) -> bool:
    """Whether some of *rows* lead there one after another: a script may make a run and claim it, in one step."""
    seen: set[str | None] = set()
    ahead = [status]
    while ahead:
        here = ahead.pop()
        seen.add(here)
        for row in rows:
            if row.source == here and row.target == to.status and (not row.reasons or to.reason in row.reasons):
                return True
            if row.source == here and row.target not in (*seen, None, Status.ENDED):
                ahead.append(row.target)
    return False
