"""The description: complete, resolvable, and the two calls of the contract to the letter."""

import re
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.app import native_endpoints
from api.native.openapi import describe
from tests.http.conftest import BASE

Client = TestClient[Litestar]
DOCUMENT: dict[str, Any] = describe(native_endpoints())
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


def parameters(path: str, method: str) -> dict[str, dict[str, Any]]:
    found = DOCUMENT["paths"][path][method]["parameters"]
    return {each["name"]: each for each in found}


def test_the_list_of_a_task_s_runs_is_described_to_the_letter() -> None:
    found = parameters("/api/tasks/{taskName}/runs", "get")
    assert list(found) == [
        "taskName",
        "limit",
        "offset",
        "status",
        "task_name",
        "sort_field",
        "sort_direction",
        "search",
        "view",  # ours
    ]
    name = found["taskName"]
    assert (name["in"], name["required"], name["description"]) == ("path", True, "Task name")
    assert (
        name["schema"].items()
        >= {
            "type": "string",
            "minLength": 1,
            "maxLength": 100,
            "pattern": "^[a-zA-Z0-9._-]+$",
        }.items()
    )
    assert found["limit"]["schema"] == {
        "type": "integer",
        "format": "int64",
        "minimum": 1,
        "maximum": 1000,
        "default": 50,
    }
    assert found["offset"]["schema"] == {"type": "integer", "format": "int64", "minimum": 0, "default": 0}
    for plain in ("status", "task_name", "search"):
        assert found[plain]["schema"] == {"type": "string"}
    fields = ["task_name", "status", "start_at", "exit_code", "duration", "created_at", ""]
    assert sorted(found["sort_field"]["schema"]["enum"]) == sorted(fields)
    assert sorted(found["sort_direction"]["schema"]["enum"]) == ["", "asc", "desc"]


def test_both_calls_of_the_contract_answer_as_it_says() -> None:
    trigger = DOCUMENT["paths"]["/api/tasks/{taskName}/run"]["post"]["responses"]
    listing = DOCUMENT["paths"]["/api/tasks/{taskName}/runs"]["get"]["responses"]
    assert trigger["201"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Run"}
    assert listing["200"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/RunsResponseBody"}
    error = DOCUMENT["components"]["responses"]["Error"]["content"]["application/problem+json"]["schema"]
    assert error == {"$ref": "#/components/schemas/ErrorModel"}
    assert trigger["default"] == listing["default"] == {"$ref": "#/components/responses/Error"}


def test_a_run_is_described_to_the_letter() -> None:
    run = DOCUMENT["components"]["schemas"]["Run"]
    assert set(run["required"]) >= {
        "created_at",
        "exit_code",
        "id",
        "replica_index",
        "retry_attempt",
        "status",
        "task_name",
        "triggered_by",
    }
    assert not set(run["required"]) & {
        "$schema",
        "end_at",
        "end_reason",
        "external_execution_id",
        "retry_of_run_id",
        "start_at",
    }
    fields = run["properties"]
    reasons = ["success", "failed", "stopped", "timeout", "crashed", "skipped", "log_overflow"]
    assert sorted(fields["end_reason"]["enum"]) == sorted(reasons)
    assert sorted(fields["status"]["enum"]) == ["ended", "pending", "running"]
    assert sorted(fields["triggered_by"]["enum"]) == ["api", "cloud", "cron"]
    for moment in ("created_at", "start_at", "end_at"):
        assert fields[moment] == {"type": "string", "format": "date-time"}
    for number in ("exit_code", "replica_index", "retry_attempt"):
        assert (fields[number]["type"], fields[number]["format"]) == ("integer", "int64")
    assert fields["$schema"]["format"] == "uri"


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_every_operation_is_documented(name: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert all(each.get("description") for each in operation.get("parameters", ()))
    placeholders = set(re.findall(r"{(\w+)}", name))
    assert placeholders == {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
    if name.split()[1].startswith("/api/"):
        assert operation["security"] == ([] if name == "POST /api/session" else [{"bearer": []}, {"session": []}])
        assert {"401", "403", "422", "429", "500", "503"} <= operation["responses"].keys()


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for _, operation in OPERATIONS]
    assert len(set(ids)) == len(ids)


def test_every_reference_leads_somewhere() -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [each for value in node.values() for each in references(value)]
        return [each for value in node for each in references(value)] if isinstance(node, list) else []

    for reference in references(DOCUMENT):
        node = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["schemas"]))
def test_every_schema_is_served_where_answers_say(client: Client, name: str) -> None:
    response = client.get(f"/schemas/{name}.json")
    assert response.status_code == 200
    schema = response.json()
    assert schema["$id"] == f"{BASE}/schemas/{name}.json"
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "#/components" not in response.text


def test_an_unknown_schema_is_404(client: Client) -> None:
    assert client.get("/schemas/Nothing.json").status_code == 404


def test_the_page_for_people_needs_no_script_and_no_other_origin(client: Client) -> None:
    response = client.get("/docs")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "<script" not in response.text
    assert "//" not in re.sub(r"https?://localhost:9477", "", response.text)
    for path in DOCUMENT["paths"]:
        assert path in response.text


def test_the_document_for_people_names_every_call_and_no_other() -> None:
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    named = set(re.findall(r"`((?:GET|POST|PUT|DELETE) /[^`]*)`", text))
    assert named == {name for name, _ in OPERATIONS}
