"""
The JSON encoding of messages (proto3's). It decodes into the same structs as the binary encoding.

It follows the rules of ProtoJSON (https://protobuf.dev/programming-guides/json/): names in lowerCamelCase or
snake_case, null for "not given", an enum's name or number, a number as text, at most one field of a ``oneof``. Unknown
fields are refused in both encodings, so that a misspelt one is not silently ignored.
"""

from enum import StrEnum
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin

import msgspec

from api.dialects.ona.wire import WORDS, Message
from api.http.decoding import as_text, raise_if_any, read_value
from shared.errors import Malformed, Problem

M = TypeVar("M", bound=Message)
S = TypeVar("S", bound=msgspec.Struct)

_encode = msgspec.json.Encoder().encode


class Field(NamedTuple):
    """
    One field of a message. ``kind`` is a struct, an enum, str, bool, int or datetime; ``many`` is its repetition.

    ``optional``: "not given" differs from empty.
    """

    name: str
    snake: str
    kind: Any
    many: str
    number: int
    oneof: str
    proto: str
    optional: bool


@cache
def fields_of(kind: type[msgspec.Struct]) -> tuple[Field, ...]:
    """The fields of a message; none for a struct that is not a Message, whose content is ignored."""
    if not issubclass(kind, Message):
        return ()
    found = []
    for field in msgspec.structs.fields(kind):
        extra = _extra(field.type)
        leaf, optional = _leaf(field.type)
        many = {list: "list", dict: "map"}.get(get_origin(leaf), "")
        if many:
            leaf, _ = _leaf(get_args(leaf)[-1])
        found.append(
            Field(
                name=field.encode_name,
                snake=field.name,
                kind=leaf,
                many=many,
                number=extra["number"],
                oneof=extra["oneof"],
                proto=extra["proto"],
                optional=optional,
            )
        )
    return tuple(found)


def from_json(kind: type[M], body: bytes) -> M:
    """A request in JSON. Raises Malformed, and Invalid with all its problems, located as ``body.x.y``."""
    try:
        value = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}") from None
    return from_plain(kind, value)


def from_plain(kind: type[S], value: object) -> S:
    """A JSON value as a message, or as any other struct. Raises Invalid with all its problems."""
    problems: list[Problem] = []
    read = read_value(kind, _plain(kind, value, "body", problems), problems)
    raise_if_any([_worded(problem) for problem in problems])
    assert read is not None
    return read


def to_json(message: Message) -> bytes:
    """An answer in JSON."""
    return _encode(message)


def _worded(problem: Problem) -> Problem:
    for pattern, words in WORDS.items():
        if pattern.replace("\\", "\\\\") in problem.message:  # msgspec writes it as a literal
            return Problem(problem.location, f"must be {words}", problem.value)
    return problem


def _extra(kind: Any) -> dict[str, Any]:
    metas = [meta.extra for meta in kind.__metadata__ if isinstance(meta, msgspec.Meta) and meta.extra]
    return metas[-1]


def _leaf(kind: Any) -> tuple[Any, bool]:
    """The type without ``Annotated`` and ``UnsetType``, and whether ``UnsetType`` was there."""
    if get_origin(kind) is Annotated:
        return _leaf(get_args(kind)[0])
    if msgspec.UnsetType in get_args(kind):
        (other,) = (part for part in get_args(kind) if part is not msgspec.UnsetType)
        return _leaf(other)[0], True
    return kind, False


@cache
def _by_name(kind: type[msgspec.Struct]) -> dict[str, Field]:
    return {name: field for field in fields_of(kind) for name in (field.name, field.snake)}


def _plain(kind: type[msgspec.Struct], value: object, where: str, problems: list[Problem]) -> object:
    """*value* with alternative spellings normalised. Invalid values are left as they are."""
    if not isinstance(value, dict) or not issubclass(kind, Message):
        return value
    known, result = _by_name(kind), {}
    groups: dict[str, str] = {}
    for name, inner in value.items():
        field = known.get(name)
        if field is None:
            result[name] = inner
            continue
        if inner is None:
            continue
        at = f"{where}.{field.name}"
        if field.name in result:
            problems.append(Problem(at, "is given in two spellings", as_text(inner)))
        if field.oneof and groups.setdefault(field.oneof, field.name) != field.name:
            problems.append(Problem(at, f"cannot be combined with {groups[field.oneof]}", as_text(inner)))
        result[field.name] = _plain_field(field, inner, at, problems)
    return result


def _plain_field(field: Field, value: object, where: str, problems: list[Problem]) -> object:
    if field.many == "list" and isinstance(value, list):
        return [_plain_one(field, item, f"{where}[{index}]", problems) for index, item in enumerate(value)]
    if field.many == "map" and isinstance(value, dict):
        return {key: _plain_one(field, item, f"{where}.{key}"[:200], problems) for key, item in value.items()}
    return value if field.many else _plain_one(field, value, where, problems)


def _plain_one(field: Field, value: object, where: str, problems: list[Problem]) -> object:
    kind = field.kind
    if issubclass(kind, msgspec.Struct):
        return _plain(kind, value, where, problems)
    if issubclass(kind, StrEnum) and isinstance(value, int) and not isinstance(value, bool):
        names = list(kind)
        return names[value] if 0 <= value < len(names) else value
    if kind is int and isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value
