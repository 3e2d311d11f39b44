"""
The environment: every setting of the three processes, in one table.

Each field of ``Settings`` is one variable, ``RUNFLEET_`` and its name in capitals; its docstring entry in ``HELP``
is the documentation that ``docs/settings.md`` and ``.env.example`` are made from. Reading reports every bad value at
once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from shared.errors import Misconfigured
from shared.signing import Keys

REDIS_URL_NAMES: Final = ("RUNFLEET_REDIS_URL", "REDIS_URL", "REDIS_TLS_URL", "VALKEY_URL")

LEASE_MS: Final = 6000
"""A running run whose worker was not heard for this long is crashed."""

BEAT_MS: Final = 1000
"""How often a worker process renews the leases of its runs."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator set. ``redis_url`` is "" when none was given (then only ``runfleet up`` can help)."""

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
        """What this process signs with, and what it accepts."""
        return Keys(self.secret, self.secret_old, self.key_prefix)


HELP: Final[dict[str, str]] = {
    "redis_url": "Redis or Valkey (7 or later): redis://, rediss:// (TLS), unix://, "
    "redis+sentinel://host:port,host:port/service, rediss+sentinel://. "
    "REDIS_URL, REDIS_TLS_URL and VALKEY_URL are read when it is not set.",
    "redis_tls_verify": "Verify the server's certificate (off for Heroku's self-signed chain).",
    "redis_pool": "Connections that the calls of one process share; those that only wait for something come on top.",
    "redis_timeout_s": "Seconds until a silent Redis counts as away.",
    "key_prefix": "Prefix of every key; the braces keep a cluster's keys in one slot.",
    "config": "The task file.",
    "host": "Address the API listens on; 127.0.0.1, or 0.0.0.0 when PORT is set.",
    "port": "Port of the API; PORT is read when it is not set.",
    "token": "Token with scope admin, to begin with. Without it the API makes one on loopback, in .runfleet/token.",
    "open": "Ask for no token (on or off); on loopback only, for clients that can send none.",
    "secret": "Signs task definitions; Redis never sees it. The same for all processes, 16 characters or more.",
    "secret_old": "The secret before RUNFLEET_SECRET, still accepted while secrets are rotated (docs/operate.md).",
    "unsigned": "Allow a Redis on another machine without RUNFLEET_SECRET (on or off): then whoever can write to it "
    "can make workers run commands.",
    "api_tasks": "Let tasks be defined through the API (on or off); on requires a secret.",
    "max_streams": "Most event and log streams, WebSockets and waits one API process serves at once.",
    "trusted_hops": "How many proxies of yours stand between clients and the API: of X-Forwarded-For so many entries "
    "from the right count, and only when the peer is in FORWARDED_ALLOW_IPS (addresses and networks by comma; not *).",
    "queues": "Queues a worker serves, by comma.",
    "inherit_env": "Variables of the worker's environment that its runs get, by comma; `*` at the end of a name stands "
    "for the rest. Never inherited: RUNFLEET_*, the Redis URLs, OPENLINEAGE_*, and what other tasks make secrets of.",
    "run_users": "Users of the operating system that a task may name as its `user`, by comma. The worker needs the "
    "right to change users (root, or the capabilities SETUID, SETGID, KILL and CHOWN), or it does not start.",
    "worker_processes": "Worker processes that one `worker` starts.",
    "worker_threads": "Runs at once in each worker process.",
    "shutdown_grace_s": "Seconds until a draining worker is done; runs may end by themselves in the first half.",
    "catch_up_window_s": "Seconds that a tick may be late and still run without counting against `catch_up`; later, it "
    "was missed. With `catch_up = 0` nothing more than 2 s late runs, whatever the window.",
    "log_format": "auto (pretty on a terminal, else logfmt), logfmt, json or pretty.",
    "log_level": "debug, info, warning or error.",
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
_TRUE = ("on", "true", "yes", "1")
_FALSE = ("off", "false", "no", "0")


def variable(field: str) -> str:
    """The environment variable of a field: ``worker_threads`` → ``RUNFLEET_WORKER_THREADS``; units are not in names."""
    return "RUNFLEET_" + field.removesuffix("_s").upper()


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """
    The settings in *environ* (the process's own by default).

    Raises Misconfigured with one line per bad variable: its name, its value and what to write. A ``RUNFLEET_`` variable
    that is not known is left alone, because a task file may use it as ``${VAR}``.
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
            "RUNFLEET_SECRET_OLD: is the secret before RUNFLEET_SECRET, which is not set; set that one, or remove this"
        )
    if settings.api_tasks and not settings.secret:
        problems.append(
            "RUNFLEET_API_TASKS='on': requires RUNFLEET_SECRET, so that workers can tell who defined a task"
        )
    if problems:
        raise Misconfigured("\n".join(problems))
    return settings


def is_ours(name: str) -> bool:
    """Whether a variable of the environment is for our own processes: no run inherits it."""
    return name.startswith(("RUNFLEET_", "OPENLINEAGE_")) or name in REDIS_URL_NAMES


def _problem_of_url(name: str, url: str) -> list[str]:
    """What is wrong with the Redis URL in variable *name*, without its password."""
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
    if field == "queues":
        from shared.tasks import is_task_name

        names = tuple(part.strip() for part in text.split(",") if part.strip())
        bad = [name for name in names if not is_task_name(name)]
        if bad or not names:
            raise ValueError(f"queue names are letters, digits and . _ -, by comma; {bad or 'none given'}")
        return names
    if field == "run_users":
        users = tuple(part.strip() for part in text.split(",") if part.strip())
        bad = [name for name in users if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}\$?", name)]
        if bad or not users:
            raise ValueError(f"write names of users by comma, like app,reports; {bad or 'none given'}")
        return users
    if field == "inherit_env":
        wanted = tuple(part.strip() for part in text.split(",") if part.strip())
        bad = [name for name in wanted if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*\*?|\*", name)]
        if bad or not wanted:
            raise ValueError(f"write names of variables by comma, like PATH,LANG,LC_*; {bad or 'none given'}")
        ours = next(filter(is_ours, wanted), "")
        if ours:
            raise ValueError(
                f'{ours} is never inherited; a task that needs it asks for it: secrets = {{ NAME = "${{{ours}}}" }}'
            )
        return wanted
    if field.startswith("log_"):
        choices = {
            "log_format": ("auto", "logfmt", "json", "pretty"),
            "log_level": ("debug", "info", "warning", "error"),
        }
        if text not in choices[field]:
            raise ValueError(f"choose one of {', '.join(choices[field])}")
    return text
