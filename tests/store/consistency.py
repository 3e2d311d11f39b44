"""
Whether the store is whole: every key has an owner, and all that is written down twice says the same.

``check_store`` looks at everything under the prefix at once. It knows nothing of what was done; it derives from the
records what indexes, queues, gates, executions and counters must hold, and compares.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

import shared.store
from shared.config import references
from shared.runs import FIELDS, Reason, Record
from shared.store.records import decode_record
from shared.store.redis.call import Call, as_is
from shared.store.redis.scripts import Script
from shared.store.redis.sync_store import Store
from shared.store.texts import INLINE, REFERENCE, TEXTS

README = Path(shared.store.__file__).with_name("README.md")
TASK, DEFINITION = FIELDS.index("task"), FIELDS.index("definition")
ANY_ID = "(?s:.{16})"
_EVERYTHING = b"""#!lua flags=no-writes
local all = {}
for _, key in ipairs(redis.call('KEYS', KEYS[1] .. ':*')) do
  local kind, value = redis.call('TYPE', key).ok, nil
  if kind == 'string' then value = redis.call('GET', key)
  elseif kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'stream' then value = redis.call('XRANGE', key, '-', '+') end
  all[#all + 1] = {string.sub(key, #KEYS[1] + 2), kind, redis.call('PTTL', key), value}
end
return all
"""
_SCRIPT = Script("everything", _EVERYTHING, hashlib.sha1(_EVERYTHING, usedforsecurity=False).hexdigest())


class Value(NamedTuple):
    """What a key holds: bytes, dict, set, list, or dict of scores; ``expires`` says that it does."""

    kind: str
    content: Any
    expires: bool


def dump(store: Store) -> dict[bytes, Value]:
    """Everything under the prefix, by key without the prefix."""
    return {key: _value(kind, ttl, value) for key, kind, ttl, value in store.run(Call(_SCRIPT, (), as_is))}


def snapshot(store: Store) -> dict[bytes, Value]:
    """As ``dump``, without what changes when nothing happens: wake-ups, and the note that somebody was there."""
    return {
        key: value
        for key, value in dump(store).items()
        if key not in (b"contact", b"store-id") and not key.startswith((b"wake:queue:", b"dramatiq:"))
    }


def bare_records(everything: Mapping[bytes, Value]) -> dict[bytes, Record]:
    """All runs as they are kept."""
    return {key[4:]: decode_record(value.content) for key, value in everything.items() if key.startswith(b"run:")}


def records(everything: Mapping[bytes, Value]) -> dict[bytes, Record]:
    """All runs, with the texts that are kept once for their execution."""
    found = bare_records(everything)
    for run, r in found.items():
        for name in TEXTS:
            x, field = _behind(getattr(r, name))
            kept = everything.get(b"texts:" + x)
            if kept is not None and field in kept.content:
                found[run] = r = msgspec.structs.replace(r, **{name: kept.content[field].decode()})
    return found


def check_store(store: Store) -> dict[bytes, Value]:
    """Fail with all that is wrong with the store; answers everything it holds."""
    everything = dump(store)
    wrong = problems(everything)
    assert not wrong, "the store is not whole:\n" + "\n".join(wrong)
    return everything


def problems(everything: Mapping[bytes, Value]) -> list[str]:
    """What is wrong, one sentence each."""
    return _Check(everything).all()


def documented_keys() -> list[str]:
    """The keys in the table of the store's README."""
    table = README.read_text("utf-8").partition("## Keys")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)


def _pattern(key: str) -> re.Pattern[bytes]:
    parts = re.split(r"(<[^>]+>)", key)
    ids = ("<run>", "<execution>")
    text = "".join(ANY_ID if part in ids else "(?s:.*)" if part.startswith("<") else re.escape(part) for part in parts)
    return re.compile(text.encode())


_PATTERNS = [_pattern(key) for key in documented_keys()]


def _value(kind: bytes, ttl: int, raw: Any) -> Value:
    content = raw
    if kind == b"hash":
        content = dict(zip(raw[::2], raw[1::2], strict=True))
    elif kind == b"set":
        content = set(raw)
    elif kind == b"zset":
        content = {member: float(score) for member, score in zip(raw[::2], raw[1::2], strict=True)}
    return Value(kind.decode(), content, ttl >= 0)


def _behind(text: str) -> tuple[bytes, bytes]:
    """The execution and the field that a text of a record refers to; nothing of one that is no reference."""
    if not text.startswith(REFERENCE):
        return b"", b""
    return bytes.fromhex(text[len(REFERENCE) : -40]), text[-40:].encode()


class _Check:
    def __init__(self, everything: Mapping[bytes, Value]) -> None:
        self.everything = everything
        self.runs = records(everything)
        self.wrong: list[str] = []
        self.executions: dict[bytes, list[bytes]] = defaultdict(list)
        for run, r in sorted(self.runs.items(), key=lambda pair: (pair[1].number, pair[0])):
            self.executions[UUID(r.execution).bytes if r.execution else run].append(run)
        self.plans = {x: value.content for x, value in self.under(b"plan:").items()}
        self.states = {
            x: value.content[b"state"].decode()
            for x, value in self.under(b"exec:").items()
            if b"state" in value.content
        }

    def all(self) -> list[str]:
        self.keys()
        self.indexes()
        self.places()
        self.lives()
        self.plan()
        self.texts()
        self.gates()
        self.definitions()
        self.logs()
        self.jobs()
        self.lineage()
        self.outside()
        self.rest()
        return self.wrong

    def say(self, condition: object, sentence: str) -> None:
        if not condition:
            self.wrong.append(sentence)

    def get(self, key: str) -> Any:
        found = self.everything.get(key.encode())
        return found.content if found else {}

    def under(self, start: bytes) -> dict[bytes, Value]:
        return {key[len(start) :]: value for key, value in self.everything.items() if key.startswith(start)}

    def same(self, what: str, found: Any, wanted: Any) -> None:
        if found != wanted:
            self.wrong.append(f"{what} is {_short(found)} but should be {_short(wanted)}")

    def keys(self) -> None:
        for key in self.everything:
            self.say(any(p.fullmatch(key) for p in _PATTERNS), f"{key!r} is in no row of the README's table")

    def indexes(self) -> None:
        wanted: dict[bytes, dict[bytes, float]] = defaultdict(dict)
        for run, r in self.runs.items():
            state = r.reason if r.status == "ended" else r.status
            duration = r.end_us - r.start_us if r.start_us else 0
            orders = {"start": r.start_us, "duration": duration, "exit": r.exit_code}
            if state == "pending":
                orders = {}
            elif state == "running":
                orders = {"start": r.start_us}
            for scope, created in (("all", r.created_us), (f"t:{r.task}", r.number)):
                for order, score in {"created": created, **orders}.items():
                    wanted[f"ix:{scope}:{state}:{order}".encode()][run] = score
        for members in self.executions.values():
            newest = max(members, key=lambda run: (self.runs[run].attempt, self.runs[run].created_us))
            r = self.runs[newest]
            if r.via:
                wanted[f"ix:via:{r.via}:{r.reason or r.status}:created".encode()][newest] = r.created_us
        found = {key: value.content for key, value in self.everything.items() if key.startswith(b"ix:")}
        for index in sorted(found.keys() | wanted.keys()):
            self.same(repr(index), found.get(index, {}), wanted.get(index, {}))

    def places(self) -> None:
        queued: dict[bytes, dict[bytes, float]] = {q: value.content for q, value in self.under(b"queue:").items()}
        due, leases = self.get("due"), self.get("leases")
        where: dict[bytes, list[str]] = defaultdict(list)
        for queue, members in queued.items():
            self.say(queue in self.get("queues"), f"queue {queue!r} is not among `queues`")
            for run, score in members.items():
                where[run].append(f"queue {queue.decode()}")
                r = self.runs.get(run)
                if r is not None:
                    self.same(f"priority band of {_name(r)}", int(score) >> 48, 9 - r.priority)
        for run, score in due.items():
            where[run].append("due")
            if run in self.runs:
                self.same(f"due time of {_name(self.runs[run])}", score, self.runs[run].due_us)
        for run in leases:
            where[run].append("leases")
        for run in where.keys() - self.runs.keys():
            self.wrong.append(f"{run.hex()} is in {where[run]} but there is no such run")
        for x, members_of in self.executions.items():
            for run in members_of:
                r, state = self.runs[run], self.states.get(x, "over")
                wanted: list[list[str]] = [[]]
                if r.status == "running":
                    wanted = [["leases"], []] if r.external else [["leases"]]
                elif r.status == "pending" and state == "delayed":
                    wanted = [["due"]]
                elif r.status == "pending" and state == "started":
                    wanted = [[] if r.external else [f"queue {r.queue}"], ["due"]]
                self.say(
                    where.get(run, []) in wanted,
                    f"{_name(r)} ({r.status}, its execution {state}) is in {where.get(run, [])}, not in {wanted}",
                )

    def lives(self) -> None:
        live = {x: sum(self.runs[run].status != "ended" for run in runs) for x, runs in self.executions.items()}
        rest = {x: int(plan[b"rest"]) for x, plan in self.plans.items() if b"rest" in plan}
        found = {x: int(value.content.get(b"live", b"-1")) for x, value in self.under(b"exec:").items()}
        counted = {x: count + rest.get(x, 0) for x, count in live.items()}
        self.same("live executions", found, {x: count for x, count in counted.items() if count})
        self.same("executions with runs left to make", set(self.get("incomplete")), set(rest))
        stopped = {x for x, value in self.under(b"exec:").items() if b"stop_left" in value.content}
        self.same("executions that are stopped in steps", set(self.get("stopping")), stopped)
        for x, value in self.under(b"exec:").items():
            for run in [] if x in self.plans else self.executions.get(x, []):
                self.same(f"the task of {x.hex()}", value.content.get(b"task", b"").decode(), _target(self.runs[run]))
        lists = {x: value.content for x, value in self.under(b"exec-runs:").items()}
        for x in lists.keys() | self.executions.keys():
            wanted = self.executions.get(x, [])
            if x in lists or wanted != [x]:
                there = lists.get(x, [])
                if len({self.runs[run].task for run in wanted}) > 1:  # numbers of different tasks don't compare
                    there, wanted = sorted(there), sorted(wanted)
                self.same(f"exec-runs of {x.hex()}", there, wanted)

    def plan(self) -> None:
        for x in self.executions.keys() - self.plans.keys():
            stray = {self.runs[run].step for run in self.executions[x]} - {-1}
            self.say(not stray, f"{x.hex()} has no plan, but runs of steps {stray}")
        waiting: dict[str, set[bytes]] = defaultdict(set)
        for x, plan in self.plans.items():
            self.say(x in self.executions, f"there is a plan of {x.hex()} but no run")
            self.say((b"over" in plan) == (x not in self.states), f"the plan of {x.hex()} does not say if it is over")
            count, groups, at = (int(plan[name]) for name in (b"steps", b"groups", b"at"))
            steps = [msgspec.msgpack.decode(plan[b"step:%d" % number]) for number in range(count)]
            members = [msgspec.msgpack.decode(plan[b"group:%d" % number]) for number in range(groups)]
            self.same(
                f"groups of {x.hex()}",
                [steps[i][3] for g in members for i in g],
                [g for g in range(groups) for _ in members[g]],
            )
            for run in self.executions.get(x, []):
                r = self.runs[run]
                self.say(0 <= r.step < count, f"{_name(r)} is of step {r.step}, and its plan has {count}")
                if 0 <= r.step < count:
                    self.same(f"the task of {_name(r)}", r.task, steps[r.step][0][TASK])
                    self.say(steps[r.step][3] <= at, f"{_name(r)} was made before its group's turn")
                    self.say(r.status == "ended" or steps[r.step][3] == at, f"{_name(r)} is live, its group is not")
            for field, value in plan.items():
                if field.startswith(b"ok:") and value in self.runs:
                    self.same(f"the end of {_name(self.runs[value])}", self.runs[value].reason, "success")
            if x in self.states and count > 1:
                waiting[plan[b"task"].decode()].add(x)
        found = {key.decode(): value.content for key, value in self.under(b"plans:").items()}
        self.same("plans by task", found, dict(waiting))
        targets: dict[str, set[bytes]] = defaultdict(set)
        for x, runs in self.executions.items():
            task = self.plans[x][b"task"].decode() if x in self.plans else _target(self.runs[runs[0]])
            targets[f"t:{task}"].add(x)
            targets["all"].add(x)
        listed = {key.decode(): set(value.content) for key, value in self.under(b"executions:").items()}
        self.same("executions", listed, dict(targets))

    def texts(self) -> None:
        """What is large of a record is kept once for its execution, as long as there is a run of that."""
        wanted: dict[bytes, set[bytes]] = defaultdict(set)
        owned = [
            (UUID(r.execution).bytes if r.execution else run, r) for run, r in bare_records(self.everything).items()
        ]
        for x, plan in self.plans.items():
            steps = (msgspec.msgpack.decode(plan[b"step:%d" % number])[0] for number in range(int(plan[b"steps"])))
            owned += [(x, msgspec.convert(step, Record)) for step in steps]
        for x, r in owned:
            for text in (getattr(r, name) for name in TEXTS):
                of, field = _behind(text)
                self.say(of or len(text.encode()) <= INLINE, f"a run of {r.task} in {x.hex()} has a large text itself")
                self.say(of in (b"", x), f"a run of {r.task} in {x.hex()} has a text of {of.hex()}")
                if field:
                    wanted[x].add(field)
        found = {x: value.content for x, value in self.under(b"texts:").items()}
        for x in found.keys() | wanted.keys():
            there = set(found.get(x, ()))
            if x not in self.plans and len({self.runs[run].task for run in self.executions[x]}) > 1:
                there &= wanted[x]  # steps that were written back into a wiped store go one by one
            self.same(f"texts of {x.hex()}", there, wanted[x])
            self.say(self.executions[x], f"there are texts of {x.hex()} but no run")
            for field, text in found.get(x, {}).items():
                self.same(f"the SHA-1 of a text of {x.hex()}", field.decode(), hashlib.sha1(text).hexdigest())

    def gates(self) -> None:
        wanted: dict[str, set[bytes]] = defaultdict(set)
        gates_of: dict[bytes, list[Any]] = {}
        for x, value in self.under(b"exec:").items():
            gates_of[x] = msgspec.msgpack.decode(value.content.get(b"gates", b"\x90"))
            for name, _ in gates_of[x]:
                if self.states.get(x) in ("started", "waiting"):
                    wanted[f"{name}:{'holders' if self.states[x] == 'started' else 'waiters'}"].add(x)
        found = {key.decode(): value.content for key, value in self.under(b"limit:").items()}
        for gate in sorted(found.keys() | wanted.keys()):
            self.same(f"gate {gate}", set(found.get(gate, ())), wanted.get(gate, set()))

        def first(name: str) -> bytes:
            waiting = found.get(f"{name}:wait", {})
            return min(waiting, key=lambda x: (waiting[x], x), default=b"")

        def has_room(name: str, most: int) -> bool:
            now = self.get("maxima").get(name.removeprefix("task:").encode())
            if now is not None:
                most = int(now)
            elif most and name.removeprefix("task:").encode() in self.get("tasks"):
                most = 1 << 60
            elif not most:
                most = int(self.get("limits").get(name.removeprefix("shared:").encode(), 1 << 60))
            return len(found.get(f"{name}:live", ())) + len(self.get(f"slots:{name}")) < most

        for x, gates in gates_of.items():
            stuck = self.states.get(x) == "waiting" and all(first(n) == x and has_room(n, most) for n, most in gates)
            self.say(not stuck, f"{x.hex()} waits although it is first at its gates {gates} and all have room")

    def definitions(self) -> None:
        refs: dict[bytes, int] = defaultdict(int)
        for r in self.runs.values():
            refs[r.definition.encode()] += 1
        for plan in self.plans.values():
            for number in range(int(plan[b"steps"])):
                refs[msgspec.msgpack.decode(plan[b"step:%d" % number])[0][DEFINITION].encode()] += 1
        for entry in self.get("tasks").values():
            refs[msgspec.msgpack.decode(entry)[0].encode()] += 1
        found = {hash_: int(value.content.get(b"refs", b"0")) for hash_, value in self.under(b"def:").items()}
        self.same("refs of definitions", found, dict(refs))
        secret: dict[bytes, bytes] = {}
        for name, entry in self.get("tasks").items():
            body = self.get(f"def:{msgspec.msgpack.decode(entry)[0]}").get(b"body", b"{}")
            texts = msgspec.json.decode(body).get("secrets", {}).values()
            variables = sorted(one for text in texts for one in references(text))
            if variables:
                secret[name] = " ".join(variables).encode()
        self.same("variables of secrets", self.get("secret-variables") or {}, secret)

    def logs(self) -> None:
        compact = self.get("compact")
        for run in compact:
            self.say(run in self.runs and self.runs[run].status == "ended", f"{run.hex()} is in `compact`, not ended")
        streams, blocks = self.under(b"log:"), self.under(b"logz:")
        for run in streams.keys() | blocks.keys():
            r = self.runs.get(run)
            self.say(r is not None, f"there is a log of {run.hex()} but no run")
            if r is None:
                continue
            is_half_way = run in self.get("compact")
            self.say(is_half_way or not (run in streams and run in blocks), f"{_name(r)} has two logs")
            self.say(r.status != "pending" or r.external, f"{_name(r)} is pending and has a log")
            self.say(run not in blocks or r.status == "ended", f"{_name(r)} is live and has a compressed log")
            if run in streams and r.status == "ended":
                self.say(run in compact, f"nobody will compact the log of {_name(r)}")

    def jobs(self) -> None:
        spaces, jobs = self.under(b"namespace:"), self.under(b"job:")
        self.same("namespaces", set(self.get("namespaces")), set(spaces))
        told = {task: float(value.content[b"updated"]) for task, value in jobs.items()}
        self.same("jobs", self.get("jobs"), told)
        of_space: dict[bytes, dict[bytes, float]] = defaultdict(dict)
        for task, value in jobs.items():
            of_space[value.content[b"namespace"]][task] = told[task]
        self.same("jobs by namespace", {key: value.content for key, value in self.under(b"jobs:").items()}, of_space)
        self.say(of_space.keys() <= spaces.keys(), f"jobs are in {set(of_space)}, namespaces are {set(spaces)}")

    def lineage(self) -> None:
        bodies, dated, static = self.get("lineage:bodies"), self.get("lineage"), self.get("lineage:static")
        self.same("lineage events by arrival", set(self.get("lineage:arrived")), set(bodies))
        self.same("lineage events by time", sorted([*dated, *static]), sorted(bodies))
        self.same("bytes of lineage events", int(self.get("lineage:bytes") or 0), sum(map(len, bodies.values())))

    def outside(self) -> None:
        """What others execute: where it waits, who has it, and the slots it holds."""
        leases = self.get("slot-leases")
        self.same("leases of slots", set(self.under(b"slot-lease:")), set(leases))
        for gate, value in self.under(b"slots:").items():
            for holder in value.content:
                r = self.runs.get(holder)
                held = holder[:16] in leases if len(holder) > 16 else r is not None and r.status != "ended"
                self.say(held, f"{holder.hex()} holds a slot of {gate.decode()} and is over")
        waiting = {x for value in self.under(b"external-queue:").values() for x in value.content}
        handed = {x for value in self.under(b"in-flight:").values() for x in value.content}
        self.say(not waiting & handed, "an execution waits for a consumer and is with one")
        for x in waiting | handed:
            live = any(self.runs[run].status != "ended" for run in self.executions.get(x, []))
            self.say(live, f"{x.hex()} waits for a consumer, or is with one, and is over")
        names = {value.content for value in self.under(b"dedupe:").values()}
        self.say(names <= set(self.runs), "something was made once whose run is gone")
        self.same("offers", set(self.get("offers")), set(self.get("offered")))
        self.same("consumers", set(self.get("consumers:about")), set(self.get("consumers")))

    def rest(self) -> None:
        for run in self.under(b"meta:"):
            self.say(run in self.runs, f"there is metadata of {run.hex()} but no run")
        external: dict[bytes, set[bytes]] = defaultdict(set)
        for run, r in self.runs.items():
            if r.external_id:
                external[r.external_id.encode()].add(run)
        self.same("external ids", {key: value.content for key, value in self.under(b"external:").items()}, external)
        tasks, history = set(self.get("tasks")), set(self.get("history"))
        with_runs = {r.task.encode() for r in self.runs.values()}
        self.say(with_runs <= history <= with_runs | tasks, f"history names {history}, runs are of {with_runs}")
        self.same("tasks with a number", set(self.get("numbers")), history)
        self.say(set(self.get("ticks")) <= tasks, "ticks holds a task that is not in the catalog")
        self.say(set(self.get("paused")) <= tasks, "paused holds a task that is not in the catalog")
        numbers = [(r.task, r.number) for r in self.runs.values()]
        self.say(len(set(numbers)) == len(numbers), "two runs of a task have the same number")
        for task, number in numbers:
            self.say(number <= int(self.get("numbers").get(task.encode(), 0)), f"{task}#{number} is from the future")
        workers = set(self.get("workers"))
        for key, value in self.everything.items():
            if key.startswith(
                (
                    b"idempotency:",
                    b"session:",
                    b"session-link:",
                    b"claims:",
                    b"cached:",
                    b"answer:",
                    b"unfinished:",
                    b"wake:worker:",
                    b"wake:standby",
                )
            ):
                self.say(value.expires, f"{key!r} never expires")
            elif key.startswith(b"worker:"):
                self.say(key[7:] in workers, f"{key!r} is of no worker")
            elif key in (b"rescue-hold", b"health"):
                self.say(value.expires, f"{key!r} never expires")
            elif value.expires:
                self.wrong.append(f"{key!r} expires though what it belongs to may live")
        self.environments()
        for r in self.runs.values():
            fits = (
                r.status in ("pending", "running") if not r.reason else r.status == "ended" and r.reason in set(Reason)
            )
            self.say(fits, f"{_name(r)} is {r.status} with reason {r.reason!r}")

    def environments(self) -> None:
        listed = {id_: msgspec.msgpack.decode(value) for id_, value in self.get("ona:tasks").items()}
        of_api = {
            name.decode() for name, entry in self.get("tasks").items() if msgspec.msgpack.decode(entry)[1] == "api"
        }
        self.say({row[0] for row in listed.values()} <= of_api, "an environment has a task that is not the API's")
        wanted: dict[str, dict[bytes, float]] = defaultdict(dict)
        for id_, (_, environment, _, arrival, *_) in listed.items():
            wanted["ona:all"][id_] = wanted[f"ona:env:{environment}"][id_] = arrival
        found = {key.decode() for key in self.everything if key.startswith((b"ona:all", b"ona:env:"))}
        for key in sorted(found | wanted.keys()):
            self.same(key, self.get(key), wanted.get(key, {}))
        self.same("ona:names", self.get("ona:names"), {row[0].encode(): id_ for id_, row in listed.items()})
        references = {f"{row[1]}/{row[2]}".encode(): id_ for id_, row in listed.items()}
        self.same("ona:refs", self.get("ona:refs"), references)


def _name(r: Record) -> str:
    return f"{r.task}#{r.number}"


def _target(r: Record) -> str:
    return r.target or r.task


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_short(key)}: {_short(one)}" for key, one in sorted(value.items())) + "}"
    if isinstance(value, list | set | tuple):
        return "[" + ", ".join(_short(one) for one in value) + "]"
    return value.hex()[:36] if isinstance(value, bytes) and len(value) == 16 else repr(value)
