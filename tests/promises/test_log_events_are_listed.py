"""Every event that the code logs has a row in ``telemetry.EVENTS``, and every row is logged somewhere."""

import ast
from pathlib import Path

from shared.telemetry import EVENTS

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "exception"}


def logged_events() -> dict[str, list[str]]:
    """Event → the places that log it: calls of ``log.<level>`` (also ``_log``, ``self.log``) with a literal."""
    places: dict[str, list[str]] = {}
    for package in ("api", "worker", "scheduler", "shared"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if is_log_call(node):
                    assert isinstance(node, ast.Call)
                    place = f"{path.relative_to(ROOT)}:{node.lineno}"
                    for event in literals(node.args[0], place):
                        places.setdefault(event, []).append(place)
    return places


def is_log_call(node: ast.AST) -> bool:
    if not (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS and node.args
    ):
        return False
    owner = node.func.value
    name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
    return name.strip("_") == "log"


def literals(argument: ast.expr, place: str) -> list[str]:
    if isinstance(argument, ast.IfExp):
        return literals(argument.body, place) + literals(argument.orelse, place)
    assert isinstance(argument, ast.Constant), f"{place}: log an event by its literal name, so that it can be listed"
    return [str(argument.value)]


def test_every_logged_event_has_a_row() -> None:
    missing = {event: places for event, places in logged_events().items() if event not in EVENTS}
    assert not missing, "add them to shared.telemetry.EVENTS"


def test_every_row_is_logged_somewhere() -> None:
    assert sorted(EVENTS.keys() - logged_events().keys()) == [], "remove them from shared.telemetry.EVENTS"
