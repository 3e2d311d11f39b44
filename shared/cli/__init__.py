"""
The command line: ``runfleet <command>``, or ``python -m shared <command>`` where nothing is installed.

Each command is a function in a module of its own, named in ``COMMANDS`` and imported only when it is called, because a
person waits for the answer. Data goes to stdout, everything else to stderr. ``EXIT_CODES`` says what the shell learns.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Final

import cyclopts

from shared.printable import printable
from shared.telemetry import hushed

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "up": ("shared.cli.up:up", "Run everything on this machine."),
    "api": ("shared.cli.processes:api", "Run the API."),
    "worker": ("shared.cli.processes:worker", "Run a worker: claim runs and execute them."),
    "scheduler": ("shared.cli.processes:scheduler", "Run the scheduler: cron, retries, lost workers, retention."),
    "check": ("shared.cli.check:check", "Validate the task file and show when its tasks will run."),
    "apply": ("shared.cli.apply:apply", "Make the tasks in the store those of the task file."),
    "release": ("shared.cli.apply:release", "Check, then apply: for the release phase of a deployment."),
    "doctor": ("shared.cli.doctor:doctor", "Say what is wrong with Redis, the fleet or its tasks, and what to do."),
    "version": ("shared.cli.version:version", "Print the version of Runfleet."),
}
"""Every command: where it is, and its line in the help."""

EXIT_CODES: Final[dict[str, int]] = {
    "done": 0,
    "failed": 1,
    "usage": 2,
    "not found": 3,
    "sign-in": 4,
    "conflict": 5,
    "unreachable": 6,
}

app = cyclopts.App(
    name="runfleet",
    help="Cron, run history, live logs and a dashboard, on a fleet of Dramatiq workers.",
    version_flags=[],
    help_format="plaintext",
)
for _name, (_place, _line) in COMMANDS.items():
    app.command(_place, name=_name, help=_line)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command (of ``sys.argv`` by default) and give its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an arrow or an umlaut must not end a command
    try:
        with hushed():
            code = app(
                sys.argv[1:] if arguments is None else list(arguments),
                exit_on_error=False,
                print_error=True,
                result_action="return_value",
            )
    except cyclopts.CycloptsError:
        return EXIT_CODES["usage"]
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`head`, a closed pager) had enough; Python must not complain about it at exit.
        sys.stdout = None  # the interpreter's own way to have no stdout
        return EXIT_CODES["failed"]
    except Exception as error:
        return _explain(error)
    return code if isinstance(code, int) else EXIT_CODES["done"]


def _explain(error: Exception) -> int:
    """Print what went wrong, if it has a name, and give the exit code. An error without a name is a bug: re-raised."""
    from shared import errors

    if not isinstance(error, errors.RunfleetError):
        raise error
    sys.stderr.write(f"{printable(str(error))}\n")
    kinds: tuple[tuple[type[errors.RunfleetError], str], ...] = (
        (errors.StoreUnavailable, "unreachable"),
        (errors.Misconfigured, "usage"),
        (errors.NotFound, "not found"),
        (errors.Unauthorized, "sign-in"),
        (errors.Forbidden, "sign-in"),
        (errors.Conflict, "conflict"),
    )
    return EXIT_CODES[next((meaning for kind, meaning in kinds if isinstance(error, kind)), "failed")]
