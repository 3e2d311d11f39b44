"""Tokens: create, list, revoke."""

import time

import msgspec
from msgspec import UNSET

from api.http.decoding import invalid
from api.http.request import Request
from api.http.response import Response
from api.http.router import Routes
from api.native.parameters import TokenPath
from api.native.requests import TokenRequest
from api.native.responses import QuotaModel, TokenModel, TokensResponseBody
from shared.clock import SECOND_US
from shared.errors import NotFound
from shared.store import tokens

routes = Routes("Tokens")


@routes.get("/api/tokens", summary="List tokens", scope="admin", answers={200: TokensResponseBody})
async def list_tokens(request: Request) -> Response:
    """
    The tokens, without their secrets, which cannot be shown again. A token that is not `valid` was not created by this
    fleet, or with another `RUNFLEET_SECRET`: it is refused, and can be revoked.
    """
    rows = await request.store.run(tokens.listing(request.state.settings.keys))
    return request.answer(TokensResponseBody(tokens=[_model(row.token, is_valid=row.is_valid) for row in rows]))


@routes.post(
    "/api/tokens",
    summary="Make a token",
    scope="admin",
    answers={201: TokenModel},
    errors=(409, 413, 415),
    example={"name": "nightly export", "scope": "run", "tasks": "export-*"},
)
async def make_token(request: Request, body: TokenRequest) -> Response:
    """
    The response shows the token; only a hash of it is stored. A repeat with the same `Idempotency-Key` creates no
    second token, and its response has no `token`, which cannot be shown again.
    """
    if body.tasks and body.scope == "admin":
        raise invalid("body.tasks", "cannot be combined with scope admin, which covers all tasks", body.tasks)
    if body.quota is not UNSET and body.scope != "run":
        raise invalid("body.quota", f"is for tokens with scope run; one with scope {body.scope} has none", body.scope)
    expires_us = None if body.expires_in_s is UNSET else time.time_ns() // 1000 + body.expires_in_s * SECOND_US
    token, text = await request.store.run(
        tokens.create(
            body.name,
            body.scope,
            body.tasks,
            expires_us,
            keys=request.state.settings.keys,
            quota=None if body.quota is UNSET else msgspec.convert(msgspec.structs.asdict(body.quota), tokens.Quota),
            request=request.repeat_key,
            token_id=request.repeat_id,
        )
    )
    request.state.authenticator.forget()
    model = _model(token)
    request.kept_response = request.answer(model, status=201)
    model.token = text or UNSET
    return request.answer(model, status=201)


@routes.delete("/api/tokens/{id}", summary="Revoke a token", answers={204: None}, errors=(404,))
async def revoke_token(request: Request, path: TokenPath) -> Response:
    """Other API processes may accept it for two seconds more."""
    if not await request.store.run(tokens.revoke(path.id)):
        raise NotFound(f"there is no token {path.id}")
    request.state.authenticator.forget()
    return Response(status=204)


def _model(token: tokens.Token, *, is_valid: bool = True) -> TokenModel:
    return TokenModel(
        id=token.id,
        name=token.name,
        scope=token.scope,
        tasks=token.tasks,
        created_at=token.created_at,
        expires_at=token.expires_at,
        valid=is_valid,
        quota=QuotaModel(**msgspec.structs.asdict(token.quota)) if token.scope == "run" else UNSET,
    )
