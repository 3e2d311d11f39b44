"""
Decodes a request's path, query, headers and body into typed values, and reports *every* problem, not only the first.

A path, a query, a set of headers and a body are each described by one msgspec struct: its field names, types, limits
and defaults are what is checked here and what ``api.native.openapi`` documents, so the two cannot differ.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec

from shared.errors import Invalid, Malformed, Problem

T = TypeVar("T", bound=msgspec.Struct)

MAX_QUERY_FIELDS: Final = 100
"""A query with more parameters than this is not read."""

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,30}")
_PATH_IN_MESSAGE = re.compile(r"^(?P<message>.*?) - at (?:`key` in )?`\$(?P<path>[^`]*)`$", re.DOTALL)


def read_query(kind: type[T], raw: bytes, problems: list[Problem]) -> T | None:
    """
    The query string *raw* as a *kind*; None when it has problems, which are added to *problems*.

    A field that is a tuple takes several values, by comma or by repetition. An unknown parameter is a problem that
    names the nearest known one. Raises Malformed as ``query_values``.
    """
    given = query_values(raw) if raw else {}
    known = [field.name for field in _plan(kind)]
    problems.extend(_unknown("query", name, known, values[0]) for name, values in given.items() if name not in known)
    return _read(kind, "query", given, problems)


def query_values(raw: bytes) -> dict[str, list[str]]:
    """
    The parameters of the query string *raw*, each with its values in the order given.

    Raises Malformed when the text is not UTF-8 or has more than ``MAX_QUERY_FIELDS`` parameters.
    """
    given: dict[str, list[str]] = {}
    try:
        text = raw.decode("latin-1")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
    except ValueError as error:
        raise Malformed(f"the query string cannot be read: {error}") from None
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    return given


def read_path(kind: type[T], given: Mapping[str, str], problems: list[Problem]) -> T | None:
    """The parts of the path as a *kind*; None when they have problems, which are added to *problems*."""
    return _read(kind, "path", {name: [value] for name, value in given.items()}, problems)


def read_headers(kind: type[T], headers: Iterable[tuple[bytes, bytes]], problems: list[Problem]) -> T | None:
    """Those headers that *kind* names, as a *kind*; None when they have problems, which are added to *problems*."""
    wanted = {field.name.lower().encode(): field.name for field in _plan(kind)}
    given: dict[str, list[str]] = {}
    for name, value in headers:
        if name in wanted:
            given.setdefault(wanted[name], []).append(value.decode("latin-1"))
    return _read(kind, "header", given, problems)


def read_json(kind: type[T], raw: bytes, problems: list[Problem]) -> T | None:
    """
    A JSON text as a *kind*; None when it has problems, which are added to *problems*.

    Raises Malformed when it is not JSON or not UTF-8, and Invalid when it is nested deeper than the reader goes.
    """
    try:
        read: T = _decoder(kind).decode(raw)
        return read
    except msgspec.ValidationError:
        pass
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"the body is not JSON: {error}") from None
    # Slow but thorough: hardly any request that is not refused comes here.
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise _too_deep() from None
    try:
        return read_value(kind, value, problems)
    except RecursionError:
        raise _too_deep() from None


def _too_deep() -> Invalid:
    return Invalid([Problem("body", "is nested too deeply to be read; flatten it")])


def read_value(kind: type[T], value: object, problems: list[Problem]) -> T | None:
    """A JSON value as a *kind*; None when it has problems, which are added to *problems*."""
    if isinstance(value, dict):
        value = _with_whole_numbers(kind, value)
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError:
            pass
    before = len(problems)
    _check_struct(kind, value, "body", problems)
    if len(problems) == before:
        problems.append(Problem("body", "is not valid", as_text(value)))
    return None


def as_text(value: object) -> str:
    """A value as problems show it: text unchanged, anything else as JSON, cut to 200 characters."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 200 else text[:199] + "…"


def invalid(location: str, message: str, value: object = "") -> Invalid:
    """An Invalid with one problem, for what only a handler can check."""
    return Invalid([Problem(location, message, as_text(value) if value != "" else "")])


def raise_if_any(problems: list[Problem]) -> None:
    """Raises Invalid with all of *problems*, if there are any."""
    if problems:
        raise Invalid(problems)


class _Field(msgspec.Struct, frozen=True):
    """How one parameter is decoded. ``attribute`` is the struct's name for it, ``name`` the wire's."""

    attribute: str
    name: str
    kind: Any
    item: Any
    reader: str
    required: bool


@cache
def _plan(kind: type[msgspec.Struct]) -> tuple[_Field, ...]:
    fields = []
    for field in msgspec.structs.fields(kind):
        leaf = _leaf(field.type)
        item = get_args(leaf)[0] if get_origin(leaf) is tuple else None
        inner = _leaf(item if item is not None else leaf)
        reader = inner.__name__ if isinstance(inner, type) and inner in (int, bool) else "text"
        fields.append(_Field(field.name, field.encode_name, field.type, item, reader, field.required))
    return tuple(fields)


def _leaf(kind: Any) -> Any:
    """The type without ``Annotated`` and ``UnsetType``."""
    if get_origin(kind) is Annotated:
        return _leaf(get_args(kind)[0])
    if get_origin(kind) in (None, tuple, list, dict, Literal):
        return kind
    others = [part for part in get_args(kind) if part is not msgspec.UnsetType]
    return _leaf(others[0]) if len(others) == 1 else kind


def _pattern(kind: Any) -> str:
    """The regular expression that *kind* is annotated with; "" when there is none."""
    if get_origin(kind) is Annotated:
        own = next((meta.pattern for meta in kind.__metadata__ if isinstance(meta, msgspec.Meta) and meta.pattern), "")
        return own or _pattern(get_args(kind)[0])
    return next((found for part in get_args(kind) if (found := _pattern(part))), "")


@cache
def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(kind)


@cache
def _defaults(kind: type[T]) -> T:
    return kind()


def _read(kind: type[T], place: str, given: Mapping[str, list[str]], problems: list[Problem]) -> T | None:
    plan = _plan(kind)
    if not given and not any(field.required for field in plan):
        unchanged: T = _defaults(kind)
        return unchanged
    before = len(problems)
    values: dict[str, Any] = {}
    for field in plan:
        texts = given.get(field.name)
        where = f"{place}.{field.name}"
        if texts is None:
            if field.required:
                problems.append(Problem(where, "is required"))
        elif field.item is not None:
            parts = [part for text in texts for part in text.split(",") if part or field.item is not str]
            values[field.attribute] = tuple(_convert(field.item, field.reader, part, where, problems) for part in parts)
        elif len(texts) > 1:
            problems.append(Problem(where, "is given more than once", as_text(texts[1])))
        else:
            values[field.attribute] = _convert(field.kind, field.reader, texts[0], where, problems)
    return kind(**values) if len(problems) == before else None


def _convert(kind: Any, reader: str, text: str, where: str, problems: list[Problem]) -> Any:
    value: object = text
    if reader == "int":
        if not _WHOLE_NUMBER.fullmatch(text):
            problems.append(Problem(where, "must be a whole number", as_text(text)))
            return None
        value = int(text)
        if not -(2**63) <= value < 2**63:
            problems.append(Problem(where, "must fit into 64 bits", as_text(text)))
            return None
    elif reader == "bool":
        if text not in ("true", "false"):
            problems.append(Problem(where, "must be true or false", as_text(text)))
            return None
        value = text == "true"
    try:
        converted = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        problems.append(Problem(where, _wording(str(error), kind), as_text(text)))
        return None
    if text.endswith("\n") and _pattern(kind):
        # Python's `$` also matches before a final line feed; elsewhere, and in the store, it does not.
        problems.append(Problem(where, f"expected text matching {_pattern(kind)}", as_text(text)))
    return converted


def _with_whole_numbers(kind: type[msgspec.Struct], value: dict[str, Any]) -> dict[str, Any]:
    """Accept 5.0 for integer fields: in JSON 5.0 and 5 are the same number."""
    whole = {field.encode_name for field in msgspec.structs.fields(kind) if _leaf(field.type) is int}
    return {
        name: int(inner) if name in whole and isinstance(inner, float) and inner.is_integer() else inner
        for name, inner in value.items()
    }


def _check_struct(kind: type[msgspec.Struct], value: Any, where: str, problems: list[Problem]) -> None:
    if not isinstance(value, dict):
        problems.append(Problem(where, f"must be an object, not {_json_name(value)}", as_text(value)))
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, inner in value.items():
        if name in fields:
            _check(fields[name].type, inner, f"{where}.{name}", problems)
        elif kind.__struct_config__.forbid_unknown_fields:
            problems.append(_unknown(where, name, list(fields), inner))
    problems.extend(
        Problem(f"{where}.{field.encode_name}", "is required")
        for field in fields.values()
        if field.required and field.encode_name not in value
    )


def _check(kind: Any, value: Any, where: str, problems: list[Problem]) -> None:
    leaf = _leaf(kind)
    origin, args = get_origin(leaf), get_args(leaf)
    before = len(problems)
    if isinstance(leaf, type) and issubclass(leaf, msgspec.Struct):
        _check_struct(leaf, value, where, problems)
    elif origin in (list, tuple) and isinstance(value, list):
        for number, item in enumerate(value):
            _check(args[0], item, f"{where}[{number}]", problems)
    elif origin is dict and isinstance(value, dict):
        for name, item in value.items():
            _check(args[0], name, f"{where}.{name}"[:200], problems)
            _check(args[1], item, f"{where}.{name}"[:200], problems)
    if len(problems) > before:
        return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        found = _PATH_IN_MESSAGE.match(str(error))
        problems.append(
            Problem(
                where + (found["path"] if found else ""),
                _wording(found["message"] if found else str(error), kind),
                as_text(value),
            )
        )


def _unknown(place: str, name: str, known: list[str], value: object) -> Problem:
    near = get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    noun = "parameter" if place == "query" else "property"
    return Problem(f"{place}.{name}"[:200], f"is not a known {noun}{hint}", as_text(value))


def _wording(message: str, kind: Any) -> str:
    """msgspec's message in the words of the API, without Python's type names."""
    leaf = _leaf(kind)
    choices = get_args(leaf) if get_origin(leaf) is Literal else tuple(getattr(leaf, "__members__", {}).values())
    if choices:
        return "must be one of " + ", ".join(str(choice) or '""' for choice in choices)
    for theirs, ours in _WORDS:
        message = re.sub(theirs, ours, message)
    return message[:1].lower() + message[1:]


_WORDS: Final = (
    (r"`str` matching regex '(.*)'", r"text matching \1"),
    (r"`str`", "text"),
    (r"`int`", "a whole number"),
    (r"`float`", "a number"),
    (r"`bool`", "true or false"),
    (r"`(?:object|dict)`", "an object"),
    (r"`(?:array|list|tuple)`", "a list"),
    (r"`null`", "null"),
    (r"`datetime`", "an RFC 3339 time"),
    (r"RFC3339 encoded datetime", "RFC 3339 time; write it like 2026-11-22T04:36:00Z"),
    (r" with a timezone component", " with Z or an offset"),
    (r" \| an RFC 3339 time", ""),
)


def _json_name(value: object) -> str:
    if value is None:
        return "null"
    return {"bool": "true or false", "int": "a number", "float": "a number", "str": "text", "list": "a list"}.get(
        type(value).__name__, "this"
    )
