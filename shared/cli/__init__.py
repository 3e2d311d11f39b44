"""
The command line: ``runfleet <command>``, or ``python -m shared <command>`` where nothing is installed.

Each command is a function in a module of its own, named in ``COMMANDS`` and imported only when it is called, to start
quickly. Data goes to stdout, everything else to stderr.
"""

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
    "worker": ("shared.cli.processes:worker", "Run a worker, which claims and executes runs."),
    "scheduler": (
        "shared.cli.processes:scheduler",
        "Run the scheduler, which handles cron, retries, lost workers and retention.",
    ),
    "check": ("shared.cli.check:check", "Validate the task file and show when its tasks will run."),
    "apply": ("shared.cli.apply:apply", "Apply the task file to the fleet."),
    "release": ("shared.cli.apply:release", "Check, then apply the task file, in the release phase of a deployment."),
    "doctor": ("shared.cli.doctor:doctor", "Find problems of Redis, the fleet and its tasks, and their cures."),
    "open": ("shared.cli.sign_in:open_dashboard", "Open the dashboard, signed in."),
    "version": ("shared.cli.version:version", "Print the version of Runfleet."),
}
"""Every command: its function, and its line in the help."""

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
            stream.reconfigure(errors="backslashreplace")  # a character that the terminal lacks must not end a command
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
        # The reader (`head`, a closed pager) stopped reading; Python must not complain about it at exit.
        sys.stdout = None  # the interpreter's own way to have no stdout
        return EXIT_CODES["failed"]
    except Exception as error:
        return _explain(error)
    return code if isinstance(code, int) else EXIT_CODES["done"]


def _explain(error: Exception) -> int:
    """Print an expected error, and return its exit code. Any other error is a bug, and is raised again."""
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
