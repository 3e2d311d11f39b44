"""
Settings: every environment variable that the three processes read, in one table.

A field of ``Settings`` is one variable: ``RUNFLEET_`` and the name in capitals. ``docs/settings.md`` and
``.env.example`` are generated from its text in ``HELP``. Reading reports all bad values at once.
"""

import os
import re
from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

from shared.errors import Misconfigured
from shared.signing import Keys

REDIS_URL_NAMES: Final = ("RUNFLEET_REDIS_URL", "REDIS_URL", "REDIS_TLS_URL", "VALKEY_URL")

LEASE_MS: Final = 6000
"""A running run whose worker sent no heartbeat for this long has crashed."""

BEAT_MS: Final = 1000
"""How often a worker process renews the leases of its runs."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings. ``redis_url`` is "" when none is set (only ``runfleet up`` can run then)."""

    redis_url: str = ""
    redis_tls_verify: bool = True
    redis_pool: int = 4
    redis_timeout_s: float = 5.0
    key_prefix: str = "{runfleet}"
    config: str = "runfleet.toml"
    host: str = ""
    port: int = 9477
    token: str = ""
    open: bool = False
    secret: str = ""
    secret_old: str = ""
    unsigned: bool = False
    api_tasks: bool = False
    max_streams: int = 500
    trusted_hops: int = 1
    queues: tuple[str, ...] = ("default",)
    inherit_env: tuple[str, ...] = ("*",)
    run_users: tuple[str, ...] = ()
    worker_processes: int = 1
    worker_threads: int = 8
    shutdown_grace_s: float = 25.0
    catch_up_window_s: float = 12.0
    log_format: Literal["auto", "logfmt", "json", "pretty"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def keys(self) -> Keys:
        """The keys that this process signs with and accepts."""
        return Keys(self.secret, self.secret_old, self.key_prefix)


HELP: Final[dict[str, str]] = {
    "redis_url": "Redis or Valkey (7 or later): redis://, rediss:// (TLS), unix://, "
    "redis+sentinel://host:port,host:port/service, rediss+sentinel://. "
    "REDIS_URL, REDIS_TLS_URL and VALKEY_URL are read when it is not set.",
    "redis_tls_verify": "Verify the server's certificate (off for Heroku's self-signed chain).",
    "redis_pool": "Connections that the calls of one process share; blocking reads use additional ones.",
    "redis_timeout_s": "Seconds without a reply before Redis is considered unavailable.",
    "key_prefix": "Prefix of every key; the braces keep all keys in one slot of a Redis Cluster.",
    "config": "Path of the task file.",
    "host": "Address that the API listens on. Default: 127.0.0.1, or 0.0.0.0 when PORT is set.",
    "port": "Port of the API. PORT is read when this is not set.",
    "token": "The first token, with scope admin. Without it an API on loopback creates one in .runfleet/token.",
    "open": "Require no token (on or off). On loopback only, for clients that cannot send one.",
    "secret": "Signs task definitions; never stored in Redis. The same for all processes, 16 characters or more.",
    "secret_old": "The previous secret, still accepted during rotation (docs/operate.md).",
    "unsigned": "Allow a Redis on another machine without RUNFLEET_SECRET (on or off). Anyone who can write to that "
    "Redis can then make workers run commands.",
    "api_tasks": "Allow tasks to be defined through the API (on or off). Requires RUNFLEET_SECRET.",
    "max_streams": "Maximum of open streams, WebSockets and waiting requests in one API process.",
    "trusted_hops": "Number of your own proxies in front of the API. The API trusts this many entries of "
    "X-Forwarded-For, from the right, and only if the peer is in FORWARDED_ALLOW_IPS (comma-separated addresses and "
    "networks; not *).",
    "queues": "Queues that a worker serves, comma-separated.",
    "inherit_env": "Variables that runs inherit from the worker's environment, comma-separated; a name may end in `*`. "
    "Never inherited: RUNFLEET_*, the Redis URLs, OPENLINEAGE_*, and variables that other tasks use as secrets.",
    "run_users": "Operating-system users that a task may name as its `user`, comma-separated. The worker needs the "
    "right to change users (root, or the capabilities SETUID, SETGID, KILL and CHOWN) and does not start without it.",
    "worker_processes": "Number of worker processes that one `worker` starts.",
    "worker_threads": "Number of runs at once in each worker process.",
    "shutdown_grace_s": "Seconds in which a draining worker ends. Its runs are not stopped in the first half.",
    "catch_up_window_s": "Seconds that a tick may be late and still run as usual. A later one counts as missed "
    "and runs only if `catch_up` allows it. With `catch_up = 0` the limit is 2 s.",
    "log_format": "Log format: auto (pretty on a terminal, else logfmt), logfmt, json or pretty.",
    "log_level": "Lowest level logged: debug, info, warning or error.",
}

_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "redis_pool": (1, 1000),
    "redis_timeout_s": (0.5, 60),
    "port": (0, 65535),
    "max_streams": (1, 100_000),
    "trusted_hops": (1, 10),
    "worker_processes": (1, 256),
    "worker_threads": (1, 1000),
    "shutdown_grace_s": (0.5, 3600),
    "catch_up_window_s": (1, 3600),
}
_LISTS: Final[dict[str, tuple[str, str]]] = {
    "queues": (r"[A-Za-z0-9._-]{1,100}", "queue names of letters, digits and . _ -, like default,reports"),
    "run_users": (r"[A-Za-z_][A-Za-z0-9_.-]{0,62}\$?", "user names like app,reports"),
    "inherit_env": (r"[A-Za-z_][A-Za-z0-9_]*\*?|\*", "variable names like PATH,LANG,LC_*"),
}
"""The pattern of a list's items, and their description in error messages."""
_TRUE = ("on", "true", "yes", "1")
_FALSE = ("off", "false", "no", "0")


def variable(field: str) -> str:
    """The environment variable of a field, without its unit: ``redis_timeout_s`` → ``RUNFLEET_REDIS_TIMEOUT``."""
    return "RUNFLEET_" + field.removesuffix("_s").upper()


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """
    Read the settings from *environ* (``os.environ`` by default).

    Raises Misconfigured with one line per bad variable: its name, its value and the cure. An unknown ``RUNFLEET_``
    variable is ignored, because a task file may use it as ``${VAR}``.
    """
    env = os.environ if environ is None else environ
    values: dict[str, object] = {}
    problems: list[str] = []
    for field in msgspec.structs.fields(Settings):
        name = variable(field.name)
        text = env.get(name, "").strip()
        if not text:
            continue
        try:
            values[field.name] = _parse(field.name, field.type, text)
        except ValueError as error:
            problems.append(f"{name}={text!r}: {error}")
    named = next((name for name in REDIS_URL_NAMES if env.get(name, "").strip()), "")
    if named:
        values["redis_url"] = env[named].strip()
        problems += _problem_of_url(named, env[named].strip())
    port = env.get("PORT", "").strip()
    if port and "port" not in values:
        if port.isdigit() and int(port) <= 65535:
            values["port"] = int(port)
        else:
            problems.append(f"PORT={port!r}: must be a whole number from 0 to 65535")
    if "host" not in values:
        values["host"] = "0.0.0.0" if port else "127.0.0.1"
    settings = msgspec.convert(values, Settings)
    problems += [
        f"{variable(name)}: must have 16 characters or more; make one with `openssl rand -hex 32`"
        for name, secret in (("secret", settings.secret), ("secret_old", settings.secret_old))
        if 0 < len(secret) < 16
    ]
    if settings.secret_old and not settings.secret:
        problems.append(
            "RUNFLEET_SECRET_OLD: requires RUNFLEET_SECRET, which is not set; set it, or remove RUNFLEET_SECRET_OLD"
        )
    if settings.api_tasks and not settings.secret:
        problems.append(
            "RUNFLEET_API_TASKS='on': requires RUNFLEET_SECRET, so that workers can verify who defined a task"
        )
    if problems:
        raise Misconfigured("\n".join(problems))
    return settings


def is_ours(name: str) -> bool:
    """Whether a variable is for Runfleet's own processes; runs never inherit it."""
    return name.startswith(("RUNFLEET_", "OPENLINEAGE_")) or name in REDIS_URL_NAMES


def _problem_of_url(name: str, url: str) -> list[str]:
    """The error in the Redis URL of variable *name*, if any; its password is not shown."""
    from shared.redis_url import BadUrl, parse, place

    try:
        parse(url)
    except BadUrl as error:
        return [f"{name}={place(url)!r}: {error}"]
    return []


def _parse(field: str, kind: object, text: str) -> object:
    if kind is bool:
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise ValueError("write on or off")
    if kind is int or kind is float:
        low, high = _BOUNDS[field]
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not low <= number <= high or (kind is int and number != int(number)):
            noun = "a whole number" if kind is int else "a number"
            raise ValueError(f"must be {noun} from {low:g} to {high:g}")
        return int(number) if kind is int else number
    if field in _LISTS:
        pattern, wanted = _LISTS[field]
        names = tuple(part.strip() for part in text.split(",") if part.strip())
        bad = [name for name in names if not re.fullmatch(pattern, name)]
        if bad or not names:
            raise ValueError(f"write {wanted}, separated by commas; {bad or 'none given'}")
        ours = next(filter(is_ours, names), "") if field == "inherit_env" else ""
        if ours:
            raise ValueError(
                f'{ours} is never inherited; a task that needs it names it: secrets = {{ NAME = "${{{ours}}}" }}'
            )
        return names
    choices = get_args(kind)
    if choices and text not in choices:
        raise ValueError(f"choose one of {', '.join(choices)}")
    return text
