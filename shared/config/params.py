"""Parameters of a task: the keys of ``[tasks.<name>.params.<param>]``, and the check of a value."""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET

from shared.config import patterns
from shared.config.source_locations import Place, show
from shared.config.value_types import (
    ARGUMENT_MAX,
    Key,
    Kind,
    clean,
    flag,
    list_of,
    map_of,
    matches,
    one_of,
    read_table,
    table_schema,
    text,
)
from shared.tasks import NAME_MAX, Param

PARAM_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
PARAMS_MAX: Final = 100


def mismatch(param: Param, value: object) -> str:
    """
    Why *value* is not valid for *param*, to follow its name in a sentence; "" when it is valid.

    A ``pattern`` must match the whole text. ``type = "json"`` takes all that JSON can hold. For a secret parameter the
    answer shows neither the value nor the choices.
    """
    if param.secret:
        wrong = mismatch(msgspec.structs.replace(param, secret=False), value)
        return (
            f"is not an allowed value (type {param.type}); details are not shown because it is secret" if wrong else ""
        )
    if not _is_a(param.type, value):
        return f"must be {_NOUNS[param.type]}, not {show(value)}"
    if param.choices and _canonical(value) not in map(_canonical, param.choices):
        return f"must be one of {', '.join(show(choice) for choice in param.choices)}, not {show(value)}"
    if param.pattern and isinstance(value, str):
        return _mismatch(param.pattern, value)
    return ""


def _mismatch(pattern: str, value: str) -> str:
    if len(value) > patterns.TEXT_MAX:
        return f"must match {pattern}, and have at most {patterns.TEXT_MAX} characters; it has {len(value)}"
    if why := patterns.why_not(pattern):
        return f"cannot be checked, its pattern {why}"  # it was defined before patterns were checked
    return "" if re.fullmatch(pattern, value) else f"must match {pattern}, not {show(value)}"


def params() -> Kind:
    """The table of a task's parameters."""
    one = Kind(_read_param, table_schema(PARAM_KEYS, {"type": "string", "pass": "env", "secret": False}))
    return map_of(one, _check_name, PARAM_NAME, most=PARAMS_MAX)


def _check_name(name: str) -> None:
    if not matches(PARAM_NAME, name) or len(name) > NAME_MAX:
        raise ValueError("a parameter's name is letters, digits and _, and doesn't start with a digit")


def _read_param(value: object, place: Place) -> object:
    before = len(place.found)
    fields: dict[str, Any] = read_table(PARAM_KEYS, value, place)
    fields["pass_as"] = fields.pop("pass", "env")
    param = Param(**fields)
    if len(place.found) > before:
        return param
    if param.pass_as == "flag" and param.type != "bool":
        place.under("pass").problem(f'"flag" is for type = "bool" only, not "{param.type}": write "option"')
    if param.pattern and param.type != "string":
        place.under("pattern").problem(f'is for type = "string" only, not "{param.type}": remove it')
        return param
    for index, choice in enumerate(param.choices):
        if problem := mismatch(msgspec.structs.replace(param, choices=()), choice):
            place.under("choices").under(index).problem(problem)
    if param.default is not UNSET:
        if param.required:
            place.under("default").problem("a required parameter cannot have a default: remove one of the two")
        if problem := mismatch(param, param.default):
            place.under("default").problem(problem)
    return param


def _read_json(value: object, _: Place) -> object:
    if isinstance(value, str):
        return clean(value, ARGUMENT_MAX)
    if not _is_json(value):
        raise ValueError(f"must be a string, number, true, false, or a list or table of these, not {show(value)}")
    return value


def _read_pattern(value: object, place: Place) -> object:
    text().read(value, place)
    if why := patterns.why_not(str(value)):
        raise ValueError(why)
    return value


def _is_a(kind: str, value: object) -> bool:
    if kind == "json":
        return _is_json(value)
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and _is_json(value)
    return isinstance(value, str) and _is_json(value)


def _is_json(value: object) -> bool:
    """Whether JSON can hold it: no dates, infinities, integers over 64 bits, or text that no process can be given."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_json(key) and _is_json(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_json, value))
    if isinstance(value, str):
        try:
            clean(value, ARGUMENT_MAX)
        except ValueError:
            return False
        return True
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or (isinstance(value, int) and -(2**63) <= value < 2**64)


def _canonical(value: object) -> object:
    """A form in which 1 equals 1.0, but not true."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    return msgspec.json.encode(value, order="sorted")


_NOUNS: Final = {
    "string": "a string",
    "number": "a number",
    "bool": "true or false",
    "json": "something that JSON can hold",
}
_ANYTHING: Final = Kind(_read_json, {})

PARAM_KEYS: Final[dict[str, Key]] = {
    "type": Key(one_of("string", "number", "bool", "json"), "Type of its values."),
    "required": Key(flag(), "Refuse a trigger that does not give it."),
    "default": Key(_ANYTHING, "Value if the trigger gives none."),
    "choices": Key(list_of(_ANYTHING, least=1, most=1000, unique=False), "Allowed values."),
    "pattern": Key(
        Kind(_read_pattern, {"type": "string", "format": "regex"}), "Regular expression that the whole text must match."
    ),
    "description": Key(text(empty=True), "Free text."),
    "pass": Key(
        one_of("env", "arg", "option", "flag"),
        "How a command receives it: as RUNFLEET_PARAM_<NAME>, an argument, --name value, or --name.",
        "pass_as",
    ),
    "secret": Key(
        flag(), "Show its values as [redacted] in answers, logs and outputs. Redis stores them in clear text."
    ),
}
