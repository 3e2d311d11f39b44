"""Sessions of browsers: sign in with a token or a one-time link, who is signed in, sign out."""

import time
from dataclasses import replace

from msgspec import UNSET

from api.http.auth import OPEN, Grant
from api.http.decoding import invalid
from api.http.request import Request
from api.http.response import Response
from api.http.router import Routes
from api.http.sessions import session_cookie, session_id
from api.native.requests import SignInRequest
from api.native.responses import SessionLinkModel, SessionModel
from shared.clock import SECOND_US, to_datetime
from shared.errors import Conflict
from shared.store import sessions

routes = Routes("Session")


@routes.post(
    "/api/session",
    summary="Sign in",
    scope=None,
    answers={200: SessionModel},
    errors=(401, 403, 413, 415, 429),
    example={"token": "rf_…"},
    once=False,
)
async def sign_in(request: Request, body: SignInRequest) -> Response:
    """
    Starts a session and sets its cookie (`HttpOnly`, `SameSite=Lax`). It ends after 12 hours without a request, 7 days
    after the sign-in, or with its token. A link from `POST /api/session/links` works once.
    """
    if (body.token is UNSET) == (body.link is UNSET):
        raise invalid("body", "needs either token or link")
    authenticator = request.state.authenticator
    if body.token is not UNSET:
        grant = await authenticator.sign_in(request.connection, body.token)
    else:
        assert body.link is not UNSET
        grant = await authenticator.sign_in_by_link(request.connection, body.link)
    keys = request.state.settings.keys
    link = sessions.Link(credential=grant.credential, who=grant.name or grant.who)
    session, secret, stored = sessions.create(link, time.time_ns() // 1000, keys)
    await request.store.run(stored)
    await _end(request)
    cookie = session_cookie(request.connection, secret)
    return request.answer(_model(replace(grant, session=session)), headers=(cookie,))


@routes.get("/api/session", summary="Who is signed in", answers={200: SessionModel})
async def read_session(request: Request) -> Response:
    """For a session, a bearer token (without `csrf`), and an open API."""
    return request.answer(_model(request.grant))


@routes.delete("/api/session", summary="Sign out", scope="read", answers={204: None})
async def sign_out(request: Request) -> Response:
    """Ends the session and removes its cookie. Other API processes may take it for two seconds more."""
    await _end(request)
    return Response(status=204, headers=(session_cookie(request.connection, ""),))


@routes.post(
    "/api/session/links",
    summary="Make a sign-in link",
    scope="read",
    answers={201: SessionLinkModel},
    errors=(409,),
    once=False,
)
async def make_session_link(request: Request) -> Response:
    """
    A link that signs in once, within 10 minutes, as the caller. Its secret is in the fragment, which browsers send to
    no server and which therefore is in no log.
    """
    if not request.grant.credential:
        raise Conflict("this API is open (RUNFLEET_OPEN=on): it requires no sign-in")
    link = sessions.Link(credential=request.grant.credential, who=request.grant.name or request.grant.who)
    secret, stored = sessions.create_link(link, request.state.settings.keys)
    await request.store.run(stored)
    expires_at = to_datetime(time.time_ns() // 1000 + sessions.LINK_S * SECOND_US)
    url = f"{request.urls.base}/sign-in#link={secret}"
    return request.answer(SessionLinkModel(url=url, expires_at=expires_at), status=201)


async def _end(request: Request) -> None:
    """End the session that the request's cookie names, if any."""
    secret = session_id(request.connection)
    if secret:
        await request.store.run(sessions.end(secret, request.state.settings.keys))
        request.state.authenticator.forget()


def _model(grant: Grant) -> SessionModel:
    session = grant.session
    ends_us = [at for at in (grant.ends_us, session.ends_us if session else 0) if at]
    return SessionModel(
        who=grant.name or grant.who,
        scope=grant.scope,
        tasks=grant.tasks,
        expires_at=to_datetime(min(ends_us)) if ends_us else UNSET,
        csrf=session.csrf if session else UNSET,
        open=True if grant == OPEN else UNSET,
    )
