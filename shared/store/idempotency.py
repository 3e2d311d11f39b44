"""
Answers to requests with an idempotency key, so that a repeat gets the same answer for 24 hours.

A mark is stored before anything is changed, and the answer after that. A process that dies in between leaves the mark
alone: the next request is then known to be a repeat, though its answer is not. A trigger needs none of this, because
the run and its key are stored in one step (``creation.create``).
"""

import secrets
from typing import Any

import msgspec

from shared.errors import Invalid, Problem
from shared.store.redis.call import Call
from shared.store.redis.scripts import script


class Earlier(msgspec.Struct, frozen=True):
    """
    An earlier request with the same key. ``answer`` is "" until there is one; ``seen``: it came before, and its answer
    is not known. ``mark`` is the same for all repeats.
    """

    mark: str = ""
    seen: bool = False
    answer: bytes = b""


def begin(request: str, digest: str, mark: str = "") -> Call[Earlier]:
    """
    Look *request* up and mark it; with the *mark* that it was given, whether it came again meanwhile.

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
    """Store the answer to *request*; the first of several counts, and is what this returns."""
    return Call(script("idempotency_finish"), (request, digest, answer), bytes)
