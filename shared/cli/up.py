"""``runfleet up``: runs the whole fleet on this machine, with its own Valkey unless a Redis is set."""

import errno
import os
import socket
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from cyclopts import Parameter

from shared.cli import valkey_server
from shared.cli.child import Child, how_it_ended
from shared.cli.data_dir import DataFolder
from shared.cli.greeting import greeting, up_command, url_of
from shared.cli.processes import lean
from shared.cli.sign_in import sign_in_link
from shared.cli.supervisor import Supervisor
from shared.errors import Misconfigured, RunfleetError
from shared.isolation import command, isolated
from shared.redis_url import place
from shared.settings import Settings, read_settings

STORE_START_S: Final = 120.0
"""A store first loads its append-only file, which may be large."""

STORE_END_S: Final = 60.0
"""A store writes its file before it exits."""

API_START_S: Final = 30.0
EXTRA_GRACE_S: Final = 10.0
"""In addition to the workers' grace: for stopping their runs and reporting how they ended."""


def up(
    file: Path | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
    data: Path = Path(".runfleet"),
    allow_unsigned: Annotated[bool, Parameter(negative=())] = False,
    with_parent: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """
    Run everything on this machine: API, scheduler, worker and a Valkey.

    Ctrl-C lets runs finish and then stops everything; a second Ctrl-C stops it now. The data folder keeps all state.
    If REDIS_URL is set, that Redis is used instead of a Valkey.

    Parameters
    ----------
    file
        Task file; default: RUNFLEET_CONFIG or runfleet.toml.
    host
        Address that the API listens on; default: RUNFLEET_HOST or 127.0.0.1.
    port
        Port of the API; default: RUNFLEET_PORT or 9477.
    data
        Data folder, with the store's files, the secret and the token.
    allow_unsigned
        Replace signatures of another secret, if the one in the data folder was lost.
    with_parent
        Stop, as after Ctrl-C, when the parent process ends (used by `make up`).
    """
    parent = os.getppid()
    given = {
        "RUNFLEET_CONFIG": str(file) if file else "",
        "RUNFLEET_HOST": host or "",
        "RUNFLEET_PORT": "" if port is None else str(port),
    }
    environ = os.environ | {name: value for name, value in given.items() if value}
    # It creates a secret, so that settings that require one (RUNFLEET_API_TASKS) can be used without.
    has_secret = bool(environ.get("RUNFLEET_SECRET", "").strip())
    settings = read_settings(environ if has_secret else environ | {"RUNFLEET_SECRET": "made in the data folder"})
    tasks = Path(settings.config).absolute()
    if not environ.get("RUNFLEET_HOST"):
        settings = msgspec.structs.replace(settings, host="127.0.0.1")  # also when a platform sets PORT
    if not tasks.is_file() and environ.get("RUNFLEET_CONFIG"):
        raise Misconfigured(f"The task file {settings.config} does not exist; create it, or name another one.")
    example = _first_task(tasks, environ) if tasks.is_file() else ""
    grace_s = settings.shutdown_grace_s + EXTRA_GRACE_S
    folder = DataFolder(data)
    folder.lock(patience_s=grace_s)
    env = isolated(environ) | {
        "RUNFLEET_CONFIG": str(tasks),
        "RUNFLEET_HOST": settings.host,
        "RUNFLEET_PORT": str(_free_port(settings, by_make=with_parent)),
        "RUNFLEET_SECRET": settings.secret if has_secret else folder.secret(),
        "RUNFLEET_TOKEN": settings.token or folder.token(),
    }
    if settings.log_format == "auto" and sys.stdout.isatty():
        env["RUNFLEET_LOG_FORMAT"] = "pretty"
    with Supervisor(grace_s=grace_s, lock_fd=folder.lock_fd, out=sys.stdout) as fleet:
        if not settings.redis_url:
            env["RUNFLEET_REDIS_URL"] = _start_store(fleet, folder, env)
        if tasks.is_file() and not fleet.stop_requests:
            _apply(fleet, env, is_alone=not settings.redis_url, allow_unsigned=allow_unsigned)
        _start_processes(fleet, folder, env, example, settings.redis_url)
        missing = ""

        def is_over() -> bool:
            nonlocal missing
            missing = "" if settings.redis_url else folder.missing()
            return bool(missing) or (with_parent and os.getppid() != parent)

        fleet.until(is_over, every_s=1.0)
        if missing:
            fleet.say(
                f"The data folder {folder.path} was removed ({missing} is missing), so nothing can be saved. This "
                "fleet stops; start it again with an empty folder, or after restoring the old one."
            )
        fleet.say("Stopping: runs may finish first. Press Ctrl-C again to stop everything now.")
        was_clean = fleet.drain()
        fleet.say("Everything has stopped." if was_clean else "Everything has stopped; some processes were killed.")
    return 0 if was_clean and not missing else 1


def _start_processes(
    fleet: Supervisor, folder: DataFolder, env: Mapping[str, str], example: str, redis_url: str
) -> None:
    """Start the three processes, wait until the API is ready, and greet; *redis_url* is "" for an own store."""
    for name in ("scheduler", "api", "worker"):
        if not fleet.stop_requests:
            fleet.start(Child(name, command(name), env, reloads=name == "scheduler"))
    url = url_of(env["RUNFLEET_HOST"], int(env["RUNFLEET_PORT"]))
    is_ready = fleet.until(lambda: _answers(url), timeout_s=API_START_S)
    if not fleet.stop_requests:
        folder.announce(url, place(redis_url) if redis_url else "")
        if not is_ready:
            fleet.say(f"{url}/ready does not answer yet; see the messages above.")
        for_log = not sys.stdout.isatty()
        link = url + "/" if for_log or not is_ready else _sign_in_link(url, env["RUNFLEET_TOKEN"])
        fleet.say(greeting(url, env, folder, example, link=link, for_log=for_log), name="")


def _start_store(fleet: Supervisor, folder: DataFolder, env: Mapping[str, str]) -> str:
    """Start the embedded Valkey and wait until it answers; its URL."""
    path = folder.socket()
    if valkey_server.is_listening(path):
        # A store that lost its supervisor and its orphan guard: two servers on one append-only file would destroy it.
        valkey_server.ask(path, "SHUTDOWN")
        fleet.until(lambda: not valkey_server.is_listening(path), timeout_s=STORE_END_S)
        if valkey_server.is_listening(path) and not fleet.stop_requests:
            raise Misconfigured(
                f"A store still runs on {folder.path} and does not answer: process {valkey_server.listener_pid(path)}. "
                "Stop it first (with `kill`, or `kill -9` if that does not help: its data is in its file), because two "
                "servers would destroy that file."
            )
    server = valkey_server.find_server()
    store = Child("store", valkey_server.arguments(server, folder.path, path), lean(env), order=1, spared=True)
    fleet.start(store)
    is_up = fleet.until(
        lambda: store.failures > 2 or valkey_server.ask(path, "PING") == "+PONG", timeout_s=STORE_START_S
    )
    if not fleet.stop_requests and (not is_up or store.failures > 2):
        raise Misconfigured(
            f"The store did not start. The end of {folder.path}/valkey.log:\n{valkey_server.log_tail(folder.path)}"
        )
    return valkey_server.url(path)


def _apply(fleet: Supervisor, env: Mapping[str, str], *, is_alone: bool, allow_unsigned: bool) -> None:
    """
    Apply the task file in a separate process, and forward its output.

    *is_alone*: no other process uses the store, so the file may remove most tasks. *allow_unsigned*: it may replace
    signatures of another secret.
    """
    allowed = (*(["--allow-removals"] if is_alone else []), *(["--allow-unsigned"] if allow_unsigned else []))
    apply = Child("apply", command("shared", "apply", *allowed), env, restarts=False)
    fleet.start(apply)
    fleet.until(lambda: not apply.is_running)
    if apply.code:
        raise Misconfigured(f"The task file was not applied (apply {how_it_ended(apply.code)}); nothing was started.")


def _sign_in_link(url: str, token: str) -> str:
    """A link that signs in once, or the dashboard's address if none can be had."""
    try:
        return sign_in_link(url, token)
    except RunfleetError:
        return url + "/"


def _first_task(tasks: Path, environ: Mapping[str, str]) -> str:
    """The name of a task to start by hand, for the greeting; "" when there is none. Raises ConfigInvalid."""
    from shared.config import read_config

    config = read_config(tasks, environ)
    return next((task.name for task in config.tasks.values() if task.manual_trigger and not task.external), "")


def _free_port(settings: Settings, *, by_make: bool) -> int:
    """The port to use: the one that is set, or a free one for 0. Raises Misconfigured when it is in use."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            before, after = up_command(by_make=by_make)
            if error.errno == errno.EADDRINUSE:
                raise Misconfigured(
                    f"Port {settings.port} on {settings.host} is in use by another program. "
                    f"Choose another one: {before}--port {_another(settings.port)}{after}, or set RUNFLEET_PORT."
                ) from None
            raise Misconfigured(
                f"The API cannot listen on {settings.host} port {settings.port}: {error.strerror or error}. "
                "Set another address with --host and --port."
            ) from None
        return int(probe.getsockname()[1])


def _another(port: int) -> int:
    return port + 1 if port < 65535 else port - 1


def _answers(url: str) -> bool:
    """Whether the API is ready."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=0.5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
