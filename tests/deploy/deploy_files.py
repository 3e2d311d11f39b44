"""Reads the files of ``deploy/``: the steps of the Dockerfile, the services of the compose file, the units."""

import configparser
import json
import re
import shlex
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
UNITS: Final = sorted((DEPLOY / "systemd").glob("*.service"))


class Step(msgspec.Struct, frozen=True):
    """One instruction of a Dockerfile: ``RUN``, and all that stands after it."""

    verb: str
    text: str


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What a file of ``deploy/`` says about one process. ``environment`` is as it is written there."""

    command: tuple[str, ...]
    environment: dict[str, str]
    stop_s: float


def dockerfile() -> list[Step]:
    """The steps, in order."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text("utf-8").splitlines() if line and line[0] != "#"]
    return [Step(*line.split(maxsplit=1)) for line in lines]


def image_environment() -> dict[str, str]:
    """The variables that the finished image sets."""
    words = [word for step in dockerfile() if step.verb == "ENV" for word in shlex.split(step.text)]
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def compose() -> dict[str, Any]:
    """The compose file; YAML's ``<<`` is resolved."""
    read: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    return read


def composed(name: str) -> Service:
    """One of its services."""
    service = compose()["services"][name]
    return Service(
        command=tuple(service["command"]),
        environment=service.get("environment", {}),
        stop_s=_seconds(service.get("stop_grace_period", "10s")),
    )


def unit(path: Path) -> dict[str, dict[str, str]]:
    """The sections of a unit."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser's documentation does it
    parser.read(path, "utf-8")
    return {name: dict(parser[name]) for name in parser.sections()}


def served(path: Path) -> Service:
    """What a unit starts."""
    service = unit(path)["Service"]
    return Service(
        command=tuple(shlex.split(service["ExecStart"])), environment={}, stop_s=float(service["TimeoutStopSec"])
    )


def procfile() -> dict[str, str]:
    """The lines of the Procfile."""
    lines = (ROOT / "Procfile").read_text("utf-8").splitlines()
    return dict(re.fullmatch(r"(\w+): (.+)", line).groups() for line in lines)  # type: ignore[union-attr,misc]


def app_json() -> dict[str, Any]:
    """What Heroku reads."""
    read: dict[str, Any] = json.loads((ROOT / "app.json").read_text("utf-8"))
    return read


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))
