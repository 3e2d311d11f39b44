"""Decoders whose refusal has a name: what a newer release or a foreign hand wrote raises Unreadable."""

from __future__ import annotations

from collections.abc import Callable
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
