"""
The base class of all messages, for both encodings.

A field's ``Meta`` carries its number in the binary encoding; name, type, limits and default serve JSON too. As in
proto3, a field that is not given has its default, and only those that may be ``UNSET`` distinguish "not given" from
"empty". Rules (``uuid``, lengths, most items) are those of Ona's descriptors. Fields of one ``oneof`` exclude each
other.
"""

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

UUID_PATTERN: Final = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z"
REFERENCE_PATTERN: Final = r"^[a-zA-Z0-9_-]{1,128}\Z"

WORDS: Final = {UUID_PATTERN: "a UUID", REFERENCE_PATTERN: "1 to 128 letters, digits, _ and -"}
"""Patterns in words, for error messages."""

Uuid = Annotated[str, Meta(pattern=UUID_PATTERN)]
Reference = Annotated[str, Meta(pattern=REFERENCE_PATTERN)]
Word = Annotated[str, Meta(min_length=1)]
Title = Annotated[str, Meta(max_length=1000)]


def number(n: int, oneof: str = "", proto: str = "") -> Meta:
    """The field's number, its ``oneof`` group, and its binary type where Python's type does not determine it."""
    return Meta(extra={"number": n, "oneof": oneof, "proto": proto})


class Message(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """A request or response message."""


class ErrorDetail(Struct, frozen=True):
    """An error detail: the type name of a message, and its binary encoding in base64."""

    type: str
    value: str
    debug: dict[str, Any]


class ConnectError(Struct, frozen=True):
    """An error response; always JSON, whatever the request's encoding."""

    code: str
    message: str
    details: list[ErrorDetail]
