"""
A store operation is a value.

A ``Call[T]`` names a script (or one command), its arguments and how to read the reply. It can be looked at in a test
without Redis, made by a thread (``Store``) or by the API's event loop (``AsyncStore``), and several can share one round
trip. An ``Operation[T]`` is a generator that yields calls one after another and returns its result: several round
trips, still without knowing who makes them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shared.store.scripts import Script

T = TypeVar("T")
R = TypeVar("R")

Argument = str | bytes | int | float

_IN_PATTERNS = re.compile(rb"[*?\[\]\\^-]")


class Key(str):
    """An argument that is a key: the executor puts the store's prefix before it."""

    __slots__ = ()


class RawKey(bytes):
    """As ``Key``, for a key that ends in a run id (16 bytes that are no text)."""

    __slots__ = ()


class KeyPattern(str):
    """As ``Key``, for a pattern of keys (SCAN): what of the prefix would mean something in one is taken as it is."""

    __slots__ = ()


def as_is(reply: Any) -> Any:
    """The reply, unread."""
    return reply


def call_name() -> str:
    """
    A name for one call of a script that cannot tell from the state whether it made that call before: one that comes
    again, because its answer was lost, is answered as it was the first time (``lua/lib/calls.lua``).
    """
    return secrets.token_hex(8)


def nothing(reply: Any) -> None:
    """For a call whose reply says nothing but that it was made."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """
    One operation: a script's name and arguments, or a command with ``Key`` arguments.

    ``read`` turns the reply into a T, or raises an error of ``shared.errors`` for a refusal.
    """

    what: Script | str
    args: tuple[Argument, ...]
    read: Callable[[Any], T]

    def then(self, change: Callable[[T], R]) -> Call[R]:
        """The same call with its answer passed through *change*."""
        read = self.read
        return Call(self.what, self.args, lambda reply: change(read(reply)))

    def packed(self, prefix: bytes) -> tuple[Argument, ...]:
        """The command to send for a store whose keys start with *prefix*."""
        if isinstance(self.what, Script):
            return ("EVALSHA", self.what.sha, 1, prefix + self.what.below, *self.args)
        return (self.what, *(_keyed(prefix, argument) for argument in self.args))

    def spelled_out(self, prefix: bytes) -> tuple[Argument, ...]:
        """As ``packed``, with the script's whole text, so that a server that does not know it can't refuse it."""
        if isinstance(self.what, Script):
            return ("EVAL", self.what.text, 1, prefix + self.what.below, *self.args)
        return self.packed(prefix)


Operation = Generator[Call[Any] | list[Call[Any]], Any, T]
"""Yields a call and gets its answer, or a list of calls that share a round trip and gets the list of their answers."""


def _keyed(prefix: bytes, argument: Argument) -> Argument:
    if isinstance(argument, Key):
        return prefix + b":" + argument.encode()
    if isinstance(argument, KeyPattern):
        return _IN_PATTERNS.sub(rb"\\\g<0>", prefix) + b":" + argument.encode()
    if isinstance(argument, RawKey):
        return prefix + b":" + argument
    return argument
