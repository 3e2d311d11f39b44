"""Idempotency keys: a repeated request gets the same response, and has no further effect."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import UNSET, Meta, UnsetType

from api.http.problems import problem_reply
from api.http.request import Request
from api.http.response import Response
from shared.errors import RunfleetError, StoreFull, StoreUnavailable
from shared.store import idempotency

KEPT_REFUSALS: Final = (404, 409, 422)
"""Refusals that are answers to the request itself, and not to who asks or when."""

REPLAYED: Final = (b"idempotent-replayed", b"true")

_noted = msgspec.msgpack.Decoder(tuple[int, list[tuple[bytes, bytes]], bytes]).decode


class KeyHeaders(msgspec.Struct, frozen=True, rename={"idempotency_key": "Idempotency-Key"}):
    """The header that identifies repeats of a request."""

    idempotency_key: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=255,
                pattern="^[!-~]+$",
                description="Repeating a request with the same key and body within 24 hours changes nothing and gives "
                "the same answer again",
            ),
        ]
        | UnsetType
    ) = UNSET


async def answered_once(request: Request, key: str, perform: Callable[[], Awaitable[ASGIApp]]) -> ASGIApp:
    """
    The response that an earlier request with this *key* got, or else that of *perform*, which is kept.

    Handlers are idempotent, so a request whose response was lost with its process is handled again. A refusal is a
    response too. Tokens share responses only if they are for the same tasks. Raises Invalid when the key was used for
    another request to the same path.
    """
    store = request.store
    request.repeat_key = f"{request.connection['path']}?{request.grant.tasks}:{key}"
    digest = hashlib.sha256(request.connection["query_string"] + b"\n" + request.body).hexdigest()
    try:
        earlier = await store.run(idempotency.begin(request.repeat_key, digest))
    except StoreFull:
        request.repeat_key = ""  # stopping must stay possible when Redis is full
        return await perform()
    if earlier.answer:
        return _replayed(earlier.answer)
    request.repeat_id, request.is_repeat = earlier.repeat_id, earlier.is_repeat
    while True:
        try:
            reply = await perform()
            break
        except RunfleetError as error:
            if error.status not in KEPT_REFUSALS:
                raise
            if not request.is_repeat:
                # A repeat may have been faster, and its effect is why this one is refused.
                earlier = await store.run(idempotency.begin(request.repeat_key, digest, request.repeat_id))
                if earlier.answer:
                    return _replayed(earlier.answer)
                if earlier.is_repeat:
                    request.is_repeat = True
                    continue
            reply = problem_reply(error, request.connection)
            break
    if not isinstance(reply, Response):
        return reply
    if earlier.is_repeat:
        reply.headers.append(REPLAYED)
    shown = request.kept_response or reply
    noted = msgspec.msgpack.encode((shown.status, shown.headers, shown.body))
    try:
        counts = await store.run(idempotency.finish(request.repeat_key, digest, noted))
    except StoreUnavailable:
        counts = noted  # it took effect, whether or not the response is kept
    # A token is shown only in this response, even when a repeat was faster to store the other one.
    return reply if counts == noted or request.kept_response else _replayed(counts)


def _replayed(noted: bytes) -> Response:
    status, headers, body = _noted(noted)
    reply = Response(body, status=status)
    reply.headers = [*headers, REPLAYED]
    return reply
