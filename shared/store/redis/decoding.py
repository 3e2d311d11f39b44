"""Decoders for what Redis answers; a value that this release cannot read raises Unreadable."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from shared.errors import Unreadable

T = TypeVar("T")


def reading(decode: Callable[[bytes], T], what: str) -> Callable[[bytes], T]:
    """*decode* with every refusal raised as Unreadable; *what* names the thing, as in ``a run's record``."""

    def read(value: bytes) -> T:
        try:
            return decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
            raise Unreadable(f"{what} in Redis cannot be read by this release: {error}") from None

    return read


def json_reading(kind: type[T], what: str) -> Callable[[Any], T]:
    """As ``reading``, for JSON."""
    return reading(msgspec.json.Decoder(kind).decode, what)


def text_of(raw: bytes) -> str:
    """A name from Redis. One that is not UTF-8, because we did not write it, must not fail what comes with it."""
    return raw.decode(errors="replace")


def texts_of(reply: Sequence[bytes]) -> list[str]:
    """A list of names."""
    return [text_of(raw) for raw in reply]


def pairs_of(reply: Sequence[Any]) -> dict[str, Any]:
    """A hash, or anything else that is answered as names that alternate with values."""
    return {text_of(name): value for name, value in zip(reply[::2], reply[1::2], strict=True)}
