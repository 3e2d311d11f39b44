"""
What a task is: the definition that the task file describes, the store keeps and a worker executes.

A definition is immutable and named by the hash of its content. Durations are integer milliseconds (``_ms``), sizes are
integer bytes; the text forms (``10s``, ``1mb``) exist only in the task file (``shared.config``).
"""

import hashlib
import re
from typing import Final, Literal

import msgspec

from shared.errors import Unreadable
from shared.signing import UNSIGNED, Keys, Signer

NAME_PATTERN: Final = r"^[a-zA-Z0-9._-]+$"
NAME_MAX: Final = 100
KB: Final = 1024
MB: Final = 1024 * KB
SECOND_MS: Final = 1000
DAY_MS: Final = 24 * 3600 * SECOND_MS
PURPOSE: Final = "definition"
"""What definitions are signed for (``shared.signing``)."""

Overlap = Literal["queue", "skip", "kill"]
Backoff = Literal["constant", "linear", "exponential"]
OnFull = Literal["drop_old", "drop_new", "kill"]
OnInterrupt = Literal["retry", "rerun", "end"]
ParamType = Literal["string", "number", "bool", "json"]
PassAs = Literal["env", "arg", "option", "flag"]


class Param(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    A declared parameter of a task. ``default`` is absent (UNSET) when there is none. A ``secret`` one is shown nowhere.
    """

    type: ParamType = "string"
    required: bool = False
    default: object = msgspec.UNSET
    choices: tuple[object, ...] = ()
    pattern: str = ""
    description: str = ""
    pass_as: PassAs = msgspec.field(default="env", name="pass")
    secret: bool = False


class Task(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One task's definition. Exactly one of ``run``, ``call`` and ``external`` is given.

    ``run``: a string for ``sh -e -c``, or an argument vector. ``max_concurrent``, ``timeout_ms``,
    ``heartbeat_timeout_ms``, ``umask``, ``memory_limit``, ``address_space_limit``
    (bytes) and ``cpu_limit_s`` are None for "no limit", ``user`` for the worker's own.
    ``secrets`` maps a variable to its value or to ``${NAME}``, which the *worker* resolves, so that the value never
    reaches the store.
    """

    name: str
    run: str | tuple[str, ...] | None = None
    call: str | None = None
    python: str | None = None
    isolate: bool = True
    external: bool = False
    description: str = ""
    group: str = ""
    tags: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    cron: tuple[str, ...] = ()
    timezone: str = "UTC"
    jitter_ms: int = 0
    catch_up: int = 1
    manual_trigger: bool = True
    replicas: int = 1
    max_replicas: int = 10_000
    queue: str = "default"
    priority: int = 0
    depends_on: tuple[str, ...] = ()
    max_concurrent: int | None = None
    on_overlap: Overlap = "queue"
    max_queued: int = 100
    timeout_ms: int | None = None
    stop_signal: str = "SIGTERM"
    graceful_stop_ms: int = 10 * SECOND_MS
    retry_attempts: int = 0
    retry_delay_ms: tuple[int, ...] = (5 * SECOND_MS,)
    retry_backoff: Backoff = "constant"
    retry_max_delay_ms: int = 300 * SECOND_MS
    retry_jitter: float = 0.0
    retry_on: tuple[str, ...] = ("failed", "timeout", "crashed", "log_overflow")
    success_codes: tuple[int, ...] = (0,)
    on_interrupt: OnInterrupt = "retry"
    strict_lease: bool = False
    heartbeat_timeout_ms: int | None = None
    log_max_size: int = MB
    log_on_full: OnFull = "drop_old"
    keep_runs: int = 1000
    keep_for_ms: int = 30 * DAY_MS
    env: dict[str, str] = {}
    env_file: str | None = None
    secrets: dict[str, str] = {}
    secrets_file: str | None = None
    working_dir: str | None = None
    umask: int | None = None
    nice: int = 0
    user: str | None = None
    memory_limit: int | None = None
    address_space_limit: int | None = None
    cpu_limit_s: int | None = None
    params: dict[str, Param] = {}
    notify: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()


class Definition(msgspec.Struct, frozen=True):
    """
    A task as the store keeps it: ``hash`` names ``body`` (canonical JSON of the Task); ``signature`` is "" if unsigned.
    """

    hash: str
    body: bytes
    signature: str

    def task(self) -> Task:
        """The task. Raises Unreadable when the body is not one (a newer release or a foreign hand wrote it)."""
        try:
            return _task(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unreadable(f"definition {self.hash} in Redis cannot be read by this release: {error}") from None


_task = msgspec.json.Decoder(Task).decode


def define(task: Task, keys: Keys = UNSIGNED) -> Definition:
    """
    The definition of *task*, signed with the secret of *keys* (``RUNFLEET_SECRET``) if there is one.

    Equal tasks give equal hashes: names are sorted and defaults left out. Only ``params`` stay in the order declared,
    in which they are passed: ``run = "cp"`` with ``source`` and ``destination`` is another task the other way round.
    """
    ordered = {name: dict(sorted(getattr(task, name).items())) for name in ("labels", "env", "secrets")}
    # msgspec leaves out what *is* the default, which an equal value from a file is not.
    plain = {name: default for name, default in _DEFAULTS if getattr(task, name) == default}
    if task.params:
        plain["params"] = msgspec.json.decode(msgspec.json.encode(task.params), type=dict[str, Param])
    body = msgspec.json.encode(msgspec.structs.replace(task, **plain, **ordered))
    return Definition(hash=_hash(body), body=body, signature=keys.sign(PURPOSE, task.name, body))


def is_trusted(definition: Definition, keys: Keys, name: str) -> bool:
    """
    Whether a process with *keys* may execute *definition* as that of task *name*, or sign anything made from it.

    Always true of an intact one when no secret is set: then write access to Redis is the right to run commands.
    """
    if not is_intact(definition):
        return False
    return not keys or bool(signer(definition, keys, name))


def is_intact(definition: Definition) -> bool:
    """Whether the body is the one that the hash names."""
    return definition.hash == _hash(definition.body)


def sign(definition: Definition, keys: Keys, name: str) -> str:
    """
    The signature of *definition* as that of task *name*. Only for one that ``signer`` knows: who signs what was found
    in the store signs what another program may have put there.
    """
    return keys.sign(PURPOSE, name, definition.body)


def signer(definition: Definition, keys: Keys, name: str) -> Signer:
    """Which secret of *keys* signed *definition* as that of task *name*; "" for neither, and for an unsigned one."""
    return keys.signer(definition.signature, PURPOSE, name, definition.body)


_DEFAULTS: Final = tuple(
    (one.name, one.default) for one in msgspec.structs.fields(Task) if one.default is not msgspec.NODEFAULT
)


def is_task_name(text: str) -> bool:
    """Whether *text* may name a task, a queue, a limit or a parameter: ``NAME_PATTERN``, 1 to 100 characters."""
    return 0 < len(text) <= NAME_MAX and re.fullmatch(NAME_PATTERN[1:-1], text) is not None


def _hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]
