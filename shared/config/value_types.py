"""The types of values in the task file: each reads a value strictly, and has a JSON Schema."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from msgspec import UNSET

from shared.config.durations import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from shared.config.source_locations import Place, nearest, show
from shared.tasks import NAME_MAX, NAME_PATTERN, is_task_name

Schema = dict[str, Any]

ARGUMENT_MAX: Final = 131_000
"""Maximum bytes of one argument or variable: Linux does not start a process with 128 KiB in one string."""

TEXT_MAX: Final = 4096

ALIKE: Final = 0.7
"""How similar a key must be to be suggested: `on_failure` is not `env_file`."""


class Kind(NamedTuple):
    """
    The type of a value. ``read`` returns the value as a Task holds it, or raises ValueError with a message that follows
    the key; a type with inner types reports their problems at their own places. ``write`` is the inverse of ``read``.
    """

    read: Callable[[object, Place], object]
    schema: Schema
    write: Callable[[Any], object] = lambda value: value


class Key(NamedTuple):
    """A key of a table: its type, its meaning, and the struct's field that it sets (its own name if "")."""

    kind: Kind
    help: str
    field: str = ""
    required: bool = False


def read(kind: Kind, value: object, place: Place) -> object:
    """*value* as *kind* reads it, or UNSET for an invalid value, which is reported at *place* or below."""
    if value is UNSET:
        return UNSET  # reported already, when its variables were substituted
    before = len(place.found)
    try:
        result = kind.read(value, place)
    except ValueError as error:
        place.problem(str(error))
    return result if len(place.found) == before else UNSET


def read_table(
    keys: Mapping[str, Key], value: object, place: Place, also: Mapping[str, str] | None = None
) -> dict[str, object]:
    """
    The valid values of a table by key; unknown and missing keys and invalid values are reported.

    *also*: other names that users may write, and the key that each stands for.
    """
    if not isinstance(value, Mapping):
        place.problem(f"must be a table, not {show(value)}")
        return {}
    values = {}
    for key, item in value.items():
        if not isinstance(key, str):
            place.problem(f"a key must be a string, not {show(key)}")
        elif key in keys:
            values[key] = read(keys[key].kind, item, place.under(key))
        else:
            is_table = isinstance(item, Mapping)
            likely = [name for name in keys if keys[name].kind.schema.get("type") == "object" or not is_table]
            words = {name: name for name in likely} | {name: of for name, of in (also or {}).items() if of in likely}
            meant = words.get(nearest(key, words, ALIKE), "")
            known = "" if meant or len(keys) > 10 else f": the keys here are {', '.join(sorted(keys))}"
            hint = f"{known}; a name with dots is quoted" if is_table and not meant else known
            place.under(key).problem(f"unknown key{hint}", meant)
    for key in keys:
        if keys[key].required and key not in value:
            place.problem(f"must have {key}: {keys[key].help}")
    return {key: item for key, item in values.items() if item is not UNSET}


def table_schema(keys: Mapping[str, Key], defaults: Mapping[str, object] | None = None) -> Schema:
    """The JSON Schema of a table, with the struct's *defaults*, by key, as written in the file."""
    properties = {}
    for name, key in keys.items():
        properties[name] = {"description": key.help, **key.kind.schema}
        if defaults and defaults.get(name) is not None:
            properties[name]["default"] = key.kind.write(defaults[name])
    required = [name for name, key in keys.items() if key.required]
    schema: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return schema | ({"required": required} if required else {})


def clean(value: str, most: int = TEXT_MAX) -> str:
    """*value*, if it can be stored and passed to a process. Messages never show it, as it may be a secret."""
    if "\0" in value:
        raise ValueError("has a NUL character, which no argument or variable can hold: remove it")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError("is not valid UTF-8: remove the broken characters") from None
    if size > most:
        raise ValueError(f"must have at most {most} bytes, not {size}")
    return value


def text(*, most: int = TEXT_MAX, empty: bool = False, private: bool = False) -> Kind:
    """A string; *empty* allows a blank one. *private*: messages don't show it."""

    def read_text(value: object, _: Place) -> str:
        if not isinstance(value, str):
            cure = f": write {show(show(value))}" if _is_plain(value) and len(show(value)) < 25 else ""
            if private:
                raise ValueError("must be a string: write it in quotes")
            raise ValueError(f"must be a string, not {_a(value)}{cure}")
        if not empty and not value.strip():
            raise ValueError("must not be empty")
        return clean(value, most)

    return Kind(read_text, {"type": "string", "maxLength": most} | ({} if empty else {"minLength": 1}))


def matching(pattern: str, parse: Callable[[str], object], noun: str, write: Callable[[Any], object] = str) -> Kind:
    """A string that *parse* reads; *pattern* is its equivalent for editors, and allows ``${NAME}``."""
    plain = text()

    def read_matching(value: object, place: Place) -> object:
        if not isinstance(value, str):
            raise ValueError(f"must be {noun}, not {_a(value)}")
        plain.read(value, place)
        return parse(value)

    return Kind(read_matching, {"type": "string", "pattern": rf"^(?:{pattern})$|\$\{{"}, write)


def name(noun: str) -> Kind:
    """A name of a task, queue, limit or channel."""

    def parse(value: str) -> str:
        if not is_task_name(value):
            raise ValueError(f"must be {noun}: 1 to {NAME_MAX} letters, digits and . _ -, not {show(value)}")
        return value

    return matching(NAME_PATTERN[1:-1], parse, noun)


def flag() -> Kind:
    """True or false."""

    def read_flag(value: object, _: Place) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, not {show(value)}")
        return value

    return Kind(read_flag, {"type": "boolean"})


def whole(low: int, high: int) -> Kind:
    """An integer in a range, both ends included."""

    def read_whole(value: object, _: Place) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {show(value)}")
        return value

    return Kind(read_whole, {"type": "integer", "minimum": low, "maximum": high})


def share() -> Kind:
    """A number from 0 to 1."""

    def read_share(value: object, _: Place) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
            raise ValueError(f"must be a number from 0 to 1, not {show(value)}")
        return float(value)

    return Kind(read_share, {"type": "number", "minimum": 0, "maximum": 1})


def duration(low: str, high: str) -> Kind:
    """A duration in a range, as milliseconds."""
    return _measure("duration", parse_duration, format_duration, DURATION_PATTERN, low, high)


def size(low: str, high: str) -> Kind:
    """A size in a range, as bytes."""
    return _measure("size", parse_size, format_size, SIZE_PATTERN, low, high)


def _measure(
    noun: str, parse: Callable[[str], int], write: Callable[[int], str], pattern: str, low: str, high: str
) -> Kind:
    def read_measure(value: object, _: Place) -> int:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return parse(show(value))  # raises with the cure
        if not isinstance(value, str):
            raise ValueError(f"must be a {noun} in quotes, not {show(value)}")
        amount = parse(value)
        if not parse(low) <= amount <= parse(high):
            raise ValueError(f"must be a {noun} from {low} to {high}, not {value}")
        return amount

    return Kind(read_measure, {"type": "string", "pattern": rf"^(?:{pattern})$|\$\{{"}, write)


def one_of(*choices: str) -> Kind:
    """One of a few words."""
    listed = ", ".join(f'"{choice}"' for choice in choices)

    def read_choice(value: object, place: Place) -> str:
        if isinstance(value, str) and value in choices:
            return value
        near = nearest(value, choices) if isinstance(value, str) else ""
        place.problem(f"must be one of {listed}, not {show(value)}", near)
        return ""

    return Kind(read_choice, {"type": "string", "enum": list(choices)})


def list_of(item: Kind, *, least: int = 0, most: int = 1000, unique: bool = True) -> Kind:
    """A list of *item*, as a tuple."""

    def read_list(value: object, place: Place) -> tuple[object, ...]:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"must be a list, not {show(value)}: write [{show(value) if _is_plain(value) else '…'}]")
        if not least <= len(value) <= most:
            raise ValueError(f"must have {least} to {most} items, not {len(value)}" if value else "must not be empty")
        results = [read(item, raw, place.under(index)) for index, raw in enumerate(value)]
        seen: set[object] = set()
        for index, result in enumerate(results):
            if unique and result is not UNSET and result in seen:
                place.under(index).problem(f"{show(value[index])} is listed twice: keep one")
            seen.add(result if unique else None)
        return tuple(results)

    schema: Schema = {"type": "array", "items": item.schema, "maxItems": most}
    extra: Schema = ({"minItems": least} if least else {}) | ({"uniqueItems": True} if unique else {})
    return Kind(read_list, schema | extra, lambda value: [item.write(part) for part in value])


def one_or_many(item: Kind, *, least: int = 0, most: int = 100, unique: bool = True) -> Kind:
    """One *item* or a list of them, as a tuple."""
    many = list_of(item, least=least, most=most, unique=unique)

    def read_either(value: object, place: Place) -> object:
        return many.read(value, place) if isinstance(value, (list, tuple)) else (item.read(value, place),)

    def write_either(value: tuple[object, ...]) -> object:
        return item.write(value[0]) if len(value) == 1 else many.write(value)

    return Kind(read_either, {"anyOf": [item.schema, many.schema]}, write_either)


def map_of(item: Kind, check_key: Callable[[str], object], pattern: str, *, most: int = 1000) -> Kind:
    """A table whose keys *check_key* accepts (it raises ValueError) and whose values are *item*, as a dict."""

    def read_map(value: object, place: Place) -> dict[str, object]:
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a table, not {show(value)}")
        if len(value) > most:
            raise ValueError(f"must have at most {most} keys, not {len(value)}")
        result = {}
        for key, raw in value.items():
            if not isinstance(key, str):
                raise ValueError(f"a key must be a string, not {show(key)}")
            at = place.under(key)
            try:
                check_key(key)
            except ValueError as error:
                at.problem(str(error))
            result[key] = read(item, raw, at)
        return result

    schema: Schema = {"type": "object", "propertyNames": {"pattern": f"^(?:{pattern})$"}}
    return Kind(read_map, schema | {"additionalProperties": item.schema}, dict)


def listed(words: Iterable[str]) -> str:
    """Words for a sentence: ``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def matches(pattern: str, value: str) -> bool:
    """Whether all of *value* is *pattern*."""
    return re.fullmatch(pattern, value) is not None


def _a(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return show(value)
    return f"the number {show(value)}"


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)
