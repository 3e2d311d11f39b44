"""
What requests with an idempotency key were answered, so that the same one gets the same answer for 24 hours.

A mark is left before anything is changed, and the answer is noted after that. A process that dies in between leaves the
mark alone: the request that comes again is then known to be a repeat, though not what it was answered. A trigger needs
none of this, because the run and the note of its key are made in one step (``creation.create``).
"""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from shared.errors import Invalid, Problem
from shared.store.redis.call import Call
from shared.store.redis.scripts import script


class Earlier(msgspec.Struct, frozen=True):
    """
    What is known of a request. ``answer`` is "" until there is one; ``seen``: it came before, and its answer is not
    known. ``mark`` is the same for all repeats.
    """

    mark: str = ""
    seen: bool = False
    answer: bytes = b""


def begin(request: str, digest: str, mark: str = "") -> Call[Earlier]:
    """
    What became of *request*; with the *mark* that it was given, whether it came again meanwhile.

    Raises Invalid when it was made with another query or body (*digest*).
    """

    def read(reply: Any) -> Earlier:
        verdict = reply[0].decode()
        if verdict == "mismatch":
            raise Invalid(
                [Problem("header.Idempotency-Key", "was used for a request with another body; use a new key")],
                "this idempotency key belongs to another request",
            )
        if verdict == "answered":
            return Earlier(answer=reply[1])
        return Earlier(mark=reply[1].decode(), seen=verdict == "seen")

    return Call(script("idempotency_begin"), (request, digest, mark or secrets.token_hex(8)), read)


def finish(request: str, digest: str, answer: bytes) -> Call[bytes]:
    """Note what *request* is answered; of several answers the first one counts, and is what this gives back."""
    return Call(script("idempotency_finish"), (request, digest, answer), bytes)
