"""
A call of the dialect: what it is sent as, who may make it, and the message it is answered with.

Each is a POST to a path of its own, whatever it does; reading and writing messages is done here, so a handler gets one
message and returns another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeVar

from api.bodies import Scope
from api.dialects.door import Dialect, Question, Routes
from api.dialects.ona import binary, forms
from api.dialects.ona.bodies import Message
from api.dialects.ona.words import CALLS, refuse
from api.errors import WrongMediaType
from api.reply import JSON, Reply
from shared.errors import Invalid, Problem

M = TypeVar("M", bound=Message)
Handler = Callable[[Question, M], Awaitable[Message]]

DIALECT: Final = Dialect(name="ona", refuse=refuse, prefixes=("/api/gitpod.v1.",))


class Form(NamedTuple):
    """How a message is sent."""

    media: bytes
    read: Callable[[Any, bytes], Any]
    write: Callable[[Message], bytes]


_FORMS: Final = {
    "application/json": Form(JSON, forms.from_json, forms.to_json),
    "application/proto": Form(b"application/proto", binary.from_binary, binary.to_binary),
}


class Calls(Routes):
    """The calls of one module."""

    def __init__(self) -> None:
        super().__init__(DIALECT)

    def call(self, kind: type[M], *, scope: Scope, service: str = CALLS) -> Callable[[Handler[M]], Handler[M]]:
        """Declare the handler of the call whose request is *kind*: ``GetTaskRequest`` is that of ``GetTask``."""

        def keep(handler: Handler[M]) -> Handler[M]:
            @self.on("POST", service + kind.__name__.removesuffix("Request"), scope=scope)
            async def serve(ask: Question) -> Reply:
                form = _form(ask)
                wanted: M = form.read(kind, ask.body)
                return Reply(form.write(await handler(ask, wanted)), media=form.media)

            return handler

        return keep


def _form(ask: Question) -> Form:
    """The form of the request, which is that of its answer too. Raises WrongMediaType and Invalid."""
    version = ask.header("connect-protocol-version")
    if version not in ("", "1"):
        raise Invalid([Problem("", f"Connect-Protocol-Version is {version[:50]}; 1 is spoken here")])
    media, _, parameters = ask.header("content-type").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip(' "')
    form = _FORMS.get(media.strip())
    if form is None or charset not in ("", "utf-8", "utf8"):
        sent = media.strip()[:100] or "nameless"
        raise WrongMediaType(f"the body is {sent}; send it as application/json in UTF-8, or as application/proto")
    return form
