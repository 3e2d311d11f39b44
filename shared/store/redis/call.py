"""
Store operations as values: what to send to Redis, and how to read the reply.

A ``Call[T]`` names a script (or one command), its arguments and how to read the reply. It can be looked at in a test
without Redis, made by a thread (``Store``) or by the API's event loop (``AsyncStore``), and several can share one round
trip (``together``, ``each``). An operation of several round trips is a coroutine that awaits calls, still without
knowing which store makes them::

    async def rename(task: str, name: str) -> Entry:
        entry, taken = await together(tasks.entry(task), tasks.entry(name))
        ...

``store.run`` takes any of the three. No event loop is involved: awaited from an asyncio task, a call fails with
"Task got bad yield".
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Generic, TypeVar, overload

from shared.store.redis.scripts import Script

T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")

Argument = str | bytes | int | float

NOW: Final = ""
"""Stored time of a call: "" asks Redis; a test may hand in microseconds."""

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
    """The reply, unread: for tests and benches. What the product calls has a type."""
    return reply


def strings(reply: Any) -> list[bytes]:
    """The reply of a command that lists members or values; with scores, each follows its member."""
    found: list[bytes] = reply
    return found


def optional_strings(reply: Any) -> list[bytes | None]:
    """The reply of a command that reads several places; None where nothing is."""
    found: list[bytes | None] = reply
    return found


def optional_string(reply: Any) -> bytes | None:
    """The reply of a command that reads one place; None when nothing is there."""
    found: bytes | None = reply
    return found


def numbers(reply: Any) -> list[int]:
    """The reply of a command that answers several integers."""
    found: list[int] = reply
    return found


def optional_number(reply: Any) -> int | None:
    """The reply of a command that answers an integer, or None."""
    found: int | None = reply
    return found


def call_name() -> str:
    """
    The id of one call of a script that cannot recognise a repeat by the state: a call that is repeated because its
    answer was lost gets the first answer (``lua/lib/calls.lua``).
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

    def __await__(self) -> Generator[Call[T], T, T]:
        return (yield self)

    def then(self, change: Callable[[T], R]) -> Call[R]:
        """The same call with its answer passed through *change*."""
        read = self.read
        return Call(self.what, self.args, lambda reply: change(read(reply)))

    def packed(self, prefix: bytes) -> tuple[Argument, ...]:
        """The command to send for a store whose keys start with *prefix*."""
        if isinstance(self.what, Script):
            return ("EVALSHA", self.what.sha, 1, prefix + self.what.key_suffix, *self.args)
        return (self.what, *(_keyed(prefix, argument) for argument in self.args))

    def packed_eval(self, prefix: bytes) -> tuple[Argument, ...]:
        """As ``packed``, with the script's whole text, so that a server that does not know it can't refuse it."""
        if isinstance(self.what, Script):
            return ("EVAL", self.what.text, 1, prefix + self.what.key_suffix, *self.args)
        return self.packed(prefix)


Operation = Coroutine[Any, Any, T]
"""The coroutine of an ``async def`` that awaits calls: nothing is done until a store runs it."""


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """
    Calls that share one round trip, made in order, not atomically; their answers in the form of a T.

    The first refusal is raised after all were made.
    """

    calls: tuple[Call[Any], ...]
    shape: Callable[[list[Any]], T]

    def __await__(self) -> Generator[Batch[T], T, T]:
        return (yield self)


Trip = Call[T] | Batch[T]
"""A call, or several that share one round trip."""


@overload
async def together(a: Trip[A], b: Trip[B], /) -> tuple[A, B]: ...
@overload
async def together(a: Trip[A], b: Trip[B], c: Trip[C], /) -> tuple[A, B, C]: ...
@overload
async def together(a: Trip[A], b: Trip[B], c: Trip[C], d: Trip[D], /) -> tuple[A, B, C, D]: ...
@overload
async def together(a: Trip[A], b: Trip[B], c: Trip[C], d: Trip[D], e: Trip[E], /) -> tuple[A, B, C, D, E]: ...
async def together(*parts: Trip[Any]) -> Any:
    """Make calls, or what ``each`` has bundled, in one round trip; their answers as a tuple."""
    sizes = [len(part.calls) if isinstance(part, Batch) else None for part in parts]

    def shape(answers: list[Any]) -> tuple[Any, ...]:
        rest = iter(answers)
        return tuple(
            next(rest) if size is None else part.shape(list(islice(rest, size)))  # type: ignore[union-attr]
            for part, size in zip(parts, sizes, strict=True)
        )

    calls = tuple(call for part in parts for call in (part.calls if isinstance(part, Batch) else (part,)))
    return await Batch(calls, shape if any(size is not None for size in sizes) else tuple)


def each(calls: Iterable[Call[T]]) -> Batch[list[T]]:
    """Make any number of calls of one kind in one round trip; their answers as a list. None at all makes no trip."""
    return Batch(tuple(calls), list)


class Drive(Generic[T]):
    """
    An operation under way: ``calls`` are those that it waits for, in one round trip; ``is_over`` when ``result`` is
    there.

    A store hands the answers of its calls to ``answer``, or what making them raised to ``fail``; both raise what
    the operation raises.
    """

    __slots__ = ("_shape", "_steps", "calls", "is_over", "result")

    calls: tuple[Call[Any], ...]
    result: T

    def __init__(self, operation: Awaitable[T]) -> None:
        self._steps = operation.__await__()
        self.is_over = False
        self._go_on(lambda: next(self._steps))

    def answer(self, answers: list[Any]) -> None:
        """Go on with the answers to ``calls``."""
        answer = self._shape(answers)
        self._go_on(lambda: self._steps.send(answer))

    def fail(self, error: Exception) -> None:
        """Go on with *error* raised where the calls were awaited."""
        self._go_on(lambda: self._steps.throw(error))

    def _go_on(self, step: Callable[[], Call[Any] | Batch[Any]]) -> None:
        try:
            wanted = step()
        except StopIteration as end:
            self.calls, self.is_over, self.result = (), True, end.value
            return
        if isinstance(wanted, Batch):
            self.calls, self._shape = wanted.calls, wanted.shape
        else:
            self.calls, self._shape = (wanted,), _only


def _only(answers: list[Any]) -> Any:
    return answers[0]


def _keyed(prefix: bytes, argument: Argument) -> Argument:
    if isinstance(argument, Key):
        return prefix + b":" + argument.encode()
    if isinstance(argument, KeyPattern):
        return _IN_PATTERNS.sub(rb"\\\g<0>", prefix) + b":" + argument.encode()
    if isinstance(argument, RawKey):
        return prefix + b":" + argument
    return argument
