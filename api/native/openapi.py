"""The OpenAPI 3.1 description of the native API, and an HTML page of it, generated from the endpoints."""

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import msgspec

from api.http.request import Request
from api.http.response import JSON, Response
from api.http.router import Endpoint, Media, Routes
from api.native.responses import TaskModel
from api.native.schemas import COMPONENTS, components, wire_types
from shared.runs import Run

Document = dict[str, Any]

_ALWAYS: Final = (400, 422, 431, 500, 503)
_WITH_BODY: Final = (408,)
_WITH_TOKEN: Final = (401, 403, 429)
_ERRORS: Final[dict[int, tuple[str, str]]] = {
    400: ("Malformed", "The request cannot be read: broken JSON, bytes that are not UTF-8, nesting without end."),
    401: ("Unauthorized", "No token, or one that is unknown, revoked or expired."),
    403: ("Forbidden", "The token may not do this; the detail names the missing scope."),
    404: ("NotFound", "The resource does not exist."),
    408: ("RequestTimeout", "The body did not arrive in time; the connection is closed."),
    409: ("Conflict", "The resource is in a state that does not allow this; the detail names it."),
    412: ("PreconditionFailed", "If-Match or If-None-Match does not match the resource; read it again."),
    413: ("ContentTooLarge", "The body is larger than 1 MiB."),
    415: ("UnsupportedMediaType", "The body is not sent as application/json."),
    422: ("Invalid", "Readable but wrong; `errors` lists every problem with its place."),
    429: ("TooManyRequests", "Too many wrong tokens from this address."),
    431: ("RequestHeaderFieldsTooLarge", "The request line and headers are longer than 64 KiB."),
    500: ("InternalServerError", "An unexpected error; the log has more under the id in `detail`."),
    503: ("Unavailable", "Redis is away, or this process is stopping or at a limit; nothing was lost, try again."),
    507: ("InsufficientStorage", "Redis has no memory for new runs; those there are still end and stop."),
}
_HEADERS: Final[dict[int, tuple[str, str]]] = {
    401: ("WWW-Authenticate", "Bearer"),
    429: ("Retry-After", "Seconds after which to try again"),
    503: ("Retry-After", "Seconds after which to try again"),
    507: ("Retry-After", "Seconds after which to try again"),
}


_REPLAYED: Final[Document] = {
    "Idempotent-Replayed": {
        "description": "true when an earlier request with this Idempotency-Key did it",
        "schema": {"type": "string", "enum": ["true"]},
    }
}


def describe(endpoints: Sequence[Endpoint]) -> Document:
    """The OpenAPI document of *endpoints*."""
    schemas = components(wire_types(endpoints))
    paths: dict[str, Document] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Runfleet",
            "version": _version(),
            "description": "Cron, run history, live logs and a dashboard, on a fleet of workers. JSON in snake_case, "
            "RFC 3339 times in UTC, durations in milliseconds; errors are problems (RFC 9457).",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This server"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(endpoint.tag for endpoint in endpoints)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {name: _problem(status, about) for status, (name, about) in _ERRORS.items()}
            | {"Error": _problem(0, "Error")},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token (`rf_…`), or RUNFLEET_TOKEN. Scopes: read ⊂ run ⊂ admin. "
                    "With RUNFLEET_OPEN=on none is needed, on loopback only.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "runfleet",
                    "description": "A session of POST /api/session. Each change also needs the header X-Runfleet-CSRF. "
                    "Behind TLS the cookie is called __Host-runfleet, or __Secure-runfleet below a path prefix.",
                },
            },
        },
    }


def documentation(endpoints: Sequence[Endpoint]) -> Routes:
    """The endpoints that serve the description of *endpoints*, and of themselves."""
    routes = Routes("Documentation")
    made: dict[str, bytes] = {}

    @routes.get(
        "/openapi.json",
        summary="This description",
        scope=None,
        answers={200: Media("application/json", "OpenAPI 3.1")},
    )
    async def openapi(request: Request) -> Response:
        """For client generators and tests."""
        return Response(made["json"], media=JSON)

    @routes.get("/docs", summary="This description, to read", scope=None, answers={200: Media("text/html", "A page")})
    async def docs(request: Request) -> Response:
        """One page without scripts and without anything from another origin."""
        style = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'none'; base-uri 'none'"
        return Response(
            made["html"],
            media=b"text/html; charset=utf-8",
            headers=((b"content-security-policy", policy.encode()),),
        )

    document = describe([*endpoints, *routes.endpoints])
    made["json"] = msgspec.json.encode(document)
    made["html"] = _page(document).encode()
    return routes


def _operation(endpoint: Endpoint) -> Document:
    parameters: list[Document] = []
    for name, place in (("path", "path"), ("query", "query"), ("headers", "header")):
        if name in endpoint.inputs:
            parameters += _parameters(endpoint.inputs[name], place)
    operation: Document = {
        "operationId": endpoint.handler.__name__,
        "summary": endpoint.summary,
        "description": " ".join(endpoint.about.split()),
        "tags": [endpoint.tag],
        "security": [{"bearer": []}, {"session": []}] if endpoint.scope else [],
    }
    if endpoint.scope:
        operation["description"] += f"\n\nScope: `{endpoint.scope}`."
    if parameters:
        operation["parameters"] = parameters
    if "body" in endpoint.inputs:
        content: Document = {"schema": {"$ref": COMPONENTS + endpoint.inputs["body"].__name__}}
        if endpoint.example is not None:
            content["examples"] = {"example": {"value": endpoint.example}}
        operation["requestBody"] = {"required": endpoint.body_required, "content": {"application/json": content}}
    statuses = {*endpoint.errors, *_ALWAYS, *(_WITH_TOKEN if endpoint.scope else ())}
    statuses |= {*_WITH_BODY} if "body" in endpoint.inputs else set()
    operation["responses"] = {
        **{str(status): _success(status, answer, endpoint) for status, answer in endpoint.answers.items()},
        **{str(status): {"$ref": f"#/components/responses/{_ERRORS[status][0]}"} for status in sorted(statuses)},
        "default": {"$ref": "#/components/responses/Error"},
    }
    return operation


def _parameters(kind: type[msgspec.Struct], place: str) -> list[Document]:
    schema = components([kind])[kind.__name__]
    required = schema.get("required", [])
    found: list[Document] = []
    for name, described in schema["properties"].items():
        parameter: Document = {"name": name, "in": place}
        words = described.pop("description", "")
        if described.get("items") == {"type": "string"}:
            # On the wire a list of arbitrary texts is one text, so it is described as one.
            described, words = {"type": "string"}, f"{words}; several by comma"
        if words:
            parameter["description"] = words
        if place == "path" or name in required:
            parameter["required"] = True
        if described.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
            described["minItems"] = 1
        if described.get("default") in ("", []):
            described.pop("default")
        found.append(parameter | {"schema": described})
    return found


def _success(status: int, answer: Any, endpoint: Endpoint) -> Document:
    response: Document = {"description": HTTPStatus(status).phrase}
    if isinstance(answer, Media):
        response["description"] = answer.about
        response["content"] = {answer.type: {"schema": {} if answer.type == "application/json" else {"type": "string"}}}
    elif answer is not None:
        kinds = [{"$ref": COMPONENTS + kind.__name__} for kind in (answer if isinstance(answer, tuple) else (answer,))]
        response["content"] = {"application/json": {"schema": {"anyOf": kinds} if len(kinds) > 1 else kinds[0]}}
    if endpoint.once:
        response["headers"] = {**_REPLAYED}
    if answer is TaskModel:
        etag = {"description": "Names this definition, for If-Match", "schema": {"type": "string"}}
        response["headers"] = {**response.get("headers", {}), "ETag": etag}
    if status == 201 and answer is Run:
        location = {"description": "URL of the run", "schema": {"type": "string", "format": "uri"}}
        response["headers"] = {"Location": location, **_REPLAYED}
        response["links"] = {
            operation: {"operationId": operation, "parameters": {"id": "$response.body#/id"}}
            for operation in ("read_run", "stop_run", "read_log", "delete_run")
        }
    return response


def _problem(status: int, about: str) -> Document:
    content: Document = {"schema": {"$ref": COMPONENTS + "ErrorModel"}}
    if status:
        content["examples"] = {"example": {"value": _example(status)}}
    response: Document = {"description": about, "content": {"application/problem+json": content}}
    if status in _HEADERS:
        name, words = _HEADERS[status]
        response["headers"] = {name: {"description": words, "schema": {"type": "string"}}}
    return response


def _example(status: int) -> Document:
    errors = [{"location": "query.limit", "message": "expected a whole number <= 1000", "value": "5000"}]
    return {
        "$schema": "http://localhost:9477/schemas/ErrorModel.json",
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _ERRORS[status][1],
        "instance": "http://localhost:9477/api/runs",
        "errors": errors if status == 422 else [],
    }


def _version() -> str:
    try:
        return version("runfleet")
    except PackageNotFoundError:
        return "0"


_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2024}"
    "code{font:0.9em ui-monospace,monospace}h2{margin-top:2.5rem}details{border-top:1px solid #ddd;padding:.5rem 0}"
    "summary{cursor:pointer}summary code{font-weight:600}table{border-collapse:collapse;width:100%;margin:.5rem 0}"
    "td,th{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #eee}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#16181a}details,td,th{border-color:#333}}"
)


def _page(document: Document) -> str:
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Runfleet API</title><style>{_STYLE}</style>",
        f"<h1>Runfleet API</h1><p>{escape(document['info']['description'])}</p>",
        "<p>For programs: <a href=openapi.json>openapi.json</a>.</p>",
    ]
    for tag in document["tags"]:
        parts.append(f"<h2>{escape(tag['name'])}</h2>")
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if operation["tags"] == [tag["name"]]:
                    parts.append(_details(method, path, operation))
    return "".join(parts)


def _details(method: str, path: str, operation: Document) -> str:
    rows = [
        (parameter["name"], parameter["in"], _type(parameter["schema"]), parameter.get("description", ""))
        for parameter in operation.get("parameters", ())
    ]
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].removeprefix(COMPONENTS)
        rows.append(("", "body", schema, "required" if operation["requestBody"]["required"] else "optional"))
    table = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    answers = ", ".join(status for status in operation["responses"] if status != "default")
    return (
        f"<details><summary><code>{method.upper()} {escape(path)}</code> {escape(operation['summary'])}</summary>"
        f"<p>{escape(operation['description'])}</p><table>{table}</table><p>Answers: {answers}</p></details>"
    )


def _type(schema: Document) -> str:
    words = [str(schema.get("type", "any"))]
    if "enum" in schema:
        words = [" | ".join(str(choice) or '""' for choice in schema["enum"])]
    words += [f"{name} {schema[key]}" for key, name in _LIMITS if key in schema]
    return ", ".join(words)


_LIMITS: Final = (("minimum", "from"), ("maximum", "to"), ("maxLength", "characters up to"), ("default", "default"))
