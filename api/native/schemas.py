"""JSON Schemas of every object on the wire, generated from the structs that encode and decode them."""

import copy
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from typing import Any, Final, get_args, get_origin

import msgspec

from api.http import problems
from api.http.request import Request
from api.http.response import JSON, Response, ResponseModel
from api.http.router import Endpoint, Media, Routes
from api.native import fleet_responses, requests, responses, run_responses
from api.native.parameters import SchemaPath
from shared import config
from shared.errors import NotFound, Problem
from shared.runs import Run

routes = Routes("Documentation")

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
COMPONENTS: Final = "#/components/schemas/"

_WORDS: Final[dict[str, dict[str, str]]] = {
    "Run": {
        "id": "UUIDv7: ids sort by creation",
        "status": "Run lifecycle phase",
        "end_reason": "Why the run ended (set when status=ended)",
        "exit_code": "Of the process; 128+n: killed by signal n; -1: nothing ran; -2: fate unknown; 0 until ended",
        "triggered_by": "How the run was triggered",
        "replica_index": "Which of the parallel copies, from 0",
        "retry_attempt": "Which attempt, from 0",
        "retry_of_run_id": "The attempt directly before",
        "external_execution_id": "What the caller's system calls this execution",
        "execution_id": "Shared by everything one trigger made",
        "number": "Counts up per task, as in report#1412",
        "due_at": "It was not to start before; kept once it has",
        "scheduled_for": "The tick that made it",
        "definition": "Hash of the definition it runs with",
        "message": "Why it ended, in one sentence",
        "stop_requested": "It was asked to stop and has not ended yet",
        "outputs": "What the run itself reported",
    },
    "Problem": {
        "location": "Where the error occurred, e.g. 'body.items[3].tags' or 'path.thing-id'",
        "message": "Error message text",
        "value": "The value at the given location",
    },
}
"""Descriptions of fields whose structs live in ``shared``, where wire documentation has no place."""

_DESCRIBED: Final[dict[str, Callable[[], Schema]]] = {"TaskDefinition": config.task_schema}
"""Objects that are read by the rules of the task file, which describes them."""

_EXCLUDED: Final[dict[str, Schema]] = {
    "ReportRequest": {
        "not": {"required": ["end_reason"]},
        "anyOf": [{"required": ["exit_code"]}, {"required": ["message"]}, {"required": ["outputs"]}],
    },
    "RunRequest": {"required": ["run_at", "delay_ms"]},
    "TokenRequest": {
        "required": ["scope", "tasks"],
        "properties": {"scope": {"const": "admin"}, "tasks": {"minLength": 1}},
    },
}
"""Fields that exclude each other, which the handlers check."""

_EXAMPLES: Final[dict[str, Schema]] = {
    "Run": {
        "$schema": "http://localhost:9477/schemas/Run.json",
        "end_reason": "success",
        "status": "ended",
        "triggered_by": "cron",
    },
    "ErrorModel": {
        "$schema": "http://localhost:9477/schemas/ErrorModel.json",
        "detail": "Property foo is required but is missing.",
        "instance": "https://example.com/error-log/abc123",
        "status": 400,
        "title": "Bad Request",
        "type": "about:blank",
    },
}


@routes.get(
    "/schemas/{file}",
    summary="A JSON Schema",
    scope=None,
    answers={200: Media("application/json", "JSON Schema 2020-12")},
    errors=(404,),
)
async def read_schema(request: Request, path: SchemaPath) -> Response:
    """The target of every object's `$schema` member."""
    name = path.file.removesuffix(".json")
    if name not in _PUBLIC:
        raise NotFound(f"there is no schema {name}; there are {', '.join(sorted(_PUBLIC))}")
    url = request.urls.schema(name)
    return Response(msgspec.json.encode({"$schema": DIALECT, "$id": url, **standalone(name)}), media=JSON)


def components(kinds: Iterable[type[msgspec.Struct]]) -> dict[str, Schema]:
    """The schemas of *kinds* and all they contain, by name, referring to each other as OpenAPI's components do."""
    _, found = msgspec.json.schema_components(list(kinds), ref_template=COMPONENTS + "{name}")
    enums = {name: schema for name, schema in found.items() if "enum" in schema}
    shown: dict[str, Schema] = {}
    for name, schema in found.items():
        if name not in enums:
            shown[name] = _finished(name, _rewritten(schema, enums))
    for kind in kinds:
        _mark_times(kind, shown)
    return shown


@cache
def standalone(name: str) -> Schema:
    """The schema called *name* with everything it refers to in its ``$defs``."""
    everything = components(_PUBLIC.values())
    wanted: dict[str, Schema] = {}
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one not in wanted:
            wanted[one] = everything[one]
            waiting += _references(everything[one])
    own = _pointed(wanted.pop(name), name)
    return {
        **own,
        **({"$defs": {key: _pointed(value, name) for key, value in sorted(wanted.items())}} if wanted else {}),
    }


def wire_types(endpoints: Iterable[Endpoint]) -> list[type[msgspec.Struct]]:
    """Every struct that is a response or a request body of the endpoints."""
    found: dict[str, type[msgspec.Struct]] = {"ErrorModel": problems.ErrorModel}
    for endpoint in endpoints:
        for answer in endpoint.answers.values():
            for kind in answer if isinstance(answer, tuple) and not isinstance(answer, Media) else (answer,):
                if isinstance(kind, type):
                    found[kind.__name__] = kind
        if "body" in endpoint.inputs:
            found[endpoint.inputs["body"].__name__] = endpoint.inputs["body"]
    return list(found.values())


_PUBLIC: Final[dict[str, type[msgspec.Struct]]] = {
    kind.__name__: kind
    for module in (responses, run_responses, fleet_responses, requests)
    for kind in (Run, Problem, problems.ErrorModel, *vars(module).values())
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and not kind.__name__.startswith("_")
    if kind is not ResponseModel
}


def _rewritten(schema: Any, enums: dict[str, Schema]) -> Any:
    """The schema with enums inlined, and integers as 64 bits wide."""
    if isinstance(schema, list):
        return [_rewritten(item, enums) for item in schema]
    if not isinstance(schema, dict):
        return schema
    reference = str(schema.get("$ref", "")).removeprefix(COMPONENTS)
    if reference in enums:
        return {"type": "string", "enum": list(enums[reference]["enum"])}
    result = {key: _rewritten(value, enums) for key, value in schema.items()}
    if "enum" in result and "type" not in result and all(isinstance(choice, str) for choice in result["enum"]):
        result["type"] = "string"
    if result.get("type") == "integer":
        result.setdefault("format", "int64")
    return result


def _finished(name: str, schema: Schema) -> Schema:
    schema = copy.deepcopy(schema)
    if name in _DESCRIBED:
        return {**schema, **_DESCRIBED[name]()}
    properties: dict[str, Schema] = schema.get("properties", {})
    if "$schema" in properties:
        properties["$schema"] = {
            "type": "string",
            "format": "uri",
            "readOnly": True,
            "description": "A URL to the JSON Schema for this object.",
            "examples": [f"http://localhost:9477/schemas/{name}.json"],
        }
    for field, words in _WORDS.get(name, {}).items():
        properties[field] = {**properties[field], "description": words}
    if name in _EXCLUDED:
        schema["not"] = _EXCLUDED[name]
    if name in _EXAMPLES:
        schema["examples"] = [_EXAMPLES[name]]
    return schema


def _mark_times(kind: type[msgspec.Struct], shown: dict[str, Schema]) -> None:
    """Mark all datetimes as ``date-time``: msgspec does not for those that could lack a zone, which here all have."""
    if kind.__name__ not in shown:
        return
    for field in msgspec.structs.fields(kind):
        schema = shown[kind.__name__]["properties"][field.encode_name]
        for part in _parts(field.type):
            if part is datetime:
                (schema["items"] if schema.get("type") == "array" else schema)["format"] = "date-time"
            elif isinstance(part, type) and issubclass(part, msgspec.Struct) and part is not kind:
                _mark_times(part, shown)


def _parts(kind: Any) -> list[Any]:
    args = get_args(kind) if get_origin(kind) is not None else ()
    return [part for arg in args for part in _parts(arg)] if args else [kind]


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [name for item in schema for name in _references(item)]
    if isinstance(schema, dict):
        own = [str(schema["$ref"]).removeprefix(COMPONENTS)] if "$ref" in schema else []
        return own + [name for value in schema.values() for name in _references(value)]
    return []


def _pointed(schema: Any, root: str) -> Any:
    if isinstance(schema, list):
        return [_pointed(item, root) for item in schema]
    if isinstance(schema, dict):
        result = {key: _pointed(value, root) for key, value in schema.items()}
        if "$ref" in result:
            name = str(result["$ref"]).removeprefix(COMPONENTS)
            result["$ref"] = "#" if name == root else f"#/$defs/{name}"
        return result
    return schema
