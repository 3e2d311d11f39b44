"""Answers to GET that a client need not receive twice: an entity tag, 304 if it is known, gzip if it is worth it."""

import gzip
import hashlib
from typing import Final

import msgspec

from api.http.request import Request
from api.http.response import Response

WORTH_PACKING: Final = 1024
"""Bytes under which gzip saves nothing on the wire."""

LEVEL: Final = 5


def compact(request: Request, value: msgspec.Struct) -> Response:
    """*value* as ``request.answer`` would send it, gzipped if it is large, or 304 if the client has it."""
    plain = request.answer(value).body
    # Weak: the same bytes may be sent packed or not.
    tag = f'W/"{hashlib.sha256(plain).hexdigest()[:32]}"'
    headers = ((b"etag", tag.encode()), (b"vary", b"accept-encoding"))
    known = request.header("if-none-match")
    if known and tag.removeprefix("W/") in (each.strip().removeprefix("W/") for each in known.split(",")):
        return Response(status=304, headers=headers)
    if len(plain) > WORTH_PACKING and _takes_gzip(request.header("accept-encoding")):
        packed = gzip.compress(plain, LEVEL, mtime=0)
        return Response(packed, headers=(*headers, (b"content-encoding", b"gzip")))
    return Response(plain, headers=headers)


def _takes_gzip(accepted: str) -> bool:
    """Whether an ``Accept-Encoding`` header names gzip (RFC 9110, 12.5.3) and does not refuse it by ``q=0``."""
    for each in accepted.lower().split(","):
        name, _, quality = each.partition(";")
        if name.strip() in ("gzip", "x-gzip"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
