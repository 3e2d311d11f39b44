"""
Identities: UUIDv7 (RFC 9562), so that ids sort by creation.

A run made by a person's trigger gets a fresh id; a run made by a tick gets the id that any scheduler would compute for
it, so that two schedulers firing the same tick make the same run.
"""

import hashlib
import os
import threading
import uuid

_lock = threading.Lock()
_last = 0


def new_id(now_us: int) -> uuid.UUID:
    """
    A fresh UUIDv7 for stored time *now_us*.

    Ids of one process increase strictly, also within a microsecond and when the clock steps back (RFC 9562, 6.2,
    method 3: the 12 bits after the millisecond carry its sub-millisecond part, the rest is random).
    """
    global _last
    with _lock:
        _last = max(now_us, _last + 1)
        stamp = _last
    return _compose(stamp, int.from_bytes(os.urandom(8), "big"))


def tick_id(task_name: str, tick_us: int, replica_index: int, signature: str = "") -> uuid.UUID:
    """
    The id of the first attempt of *replica_index* of the execution that *task_name* owes for the tick at *tick_us*.

    With the *signature* of its definition, which no client sees, nobody can tell it before: some clients choose the ids
    of runs, and a tick whose id is taken already would pass for one that was fired.
    """
    digest = hashlib.sha256(f"{signature}{task_name}\0{tick_us}\0{replica_index}".encode()).digest()
    return _compose(tick_us, int.from_bytes(digest[:8], "big"))


def retry_id(run_id: uuid.UUID, now_us: int) -> uuid.UUID:
    """
    The id of the attempt after *run_id*: time from now, the rest from its parent, so that two makers agree but for
    time.
    """
    digest = hashlib.sha256(b"retry\0" + run_id.bytes).digest()
    return _compose(now_us, int.from_bytes(digest[:8], "big"))


def named_id(parent: uuid.UUID, name: str, at_us: int) -> uuid.UUID:
    """The id of what *name* says of *parent* at stored time *at_us*: the same for everybody who says it."""
    digest = hashlib.sha256(name.encode() + b"\0" + parent.bytes).digest()
    return _compose(at_us, int.from_bytes(digest[:8], "big"))


def _compose(stamp_us: int, tail: int) -> uuid.UUID:
    milliseconds, microseconds = divmod(stamp_us, 1000)
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76
    value |= (microseconds * 4) << 64  # 0…3996 fits the 12 bits and keeps the order
    value |= 0b10 << 62
    value |= tail & 0x3FFF_FFFF_FFFF_FFFF
    return uuid.UUID(int=value)
