"""
Answers to requests with an idempotency key, so that a repeat gets the same answer for 24 hours.

A request is recorded before it changes anything, and its answer after that. When the process dies in between, the next
request is known to be a repeat, though its answer is not. A trigger needs none of this, because the run and its key are
stored in one step (``creation.create``).
"""

import secrets
from typing import Any

import msgspec

from shared.errors import Invalid, Problem
from shared.store.redis.call import Call
from shared.store.redis.scripts import script


class Earlier(msgspec.Struct, frozen=True):
    """
    What is known of a request. ``answer`` is b"" until there is one; ``is_repeat``: it came before, and its answer is
    unknown. ``repeat_id`` is the same for all repeats.
    """

    repeat_id: str = ""
    is_repeat: bool = False
    answer: bytes = b""


def begin(request: str, digest: str, repeat_id: str = "") -> Call[Earlier]:
    """
    Look up and record *request*. With the *repeat_id* of an earlier answer, ask whether it was repeated meanwhile.

    Raises Invalid when the earlier request had another query or body (*digest*).
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
        return Earlier(repeat_id=reply[1].decode(), is_repeat=verdict == "repeated")

    return Call(script("idempotency_begin"), (request, digest, repeat_id or secrets.token_hex(8)), read)


def finish(request: str, digest: str, answer: bytes) -> Call[bytes]:
    """Store the answer to *request*; the first of several counts, and is what this returns."""
    return Call(script("idempotency_finish"), (request, digest, answer), bytes)
