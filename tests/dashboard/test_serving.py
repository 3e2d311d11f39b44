"""How the dashboard's files are sent: what may be kept, what the browser may do with them, below which path."""

from __future__ import annotations

import gzip
import re

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.app import create_app
from api.dashboard.serving import BUILT
from shared.settings import Settings

ASSET = next(f"/assets/{path.name}" for path in sorted((BUILT / "assets").iterdir()) if path.suffix == ".js")


def client(root: str = "") -> TestClient[Litestar]:
    return TestClient(create_app(Settings(redis_url="unix:///nowhere/at/all")), root_path=root)


@pytest.mark.parametrize("path", ["/", "/tasks/report/1412", "/runs/report%231412", "/tasks/report/run", "/sign-in"])
def test_every_page_is_the_index_with_a_strict_policy(path: str) -> None:
    with client() as http:
        answer = http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script>|<style|style=\"|http://|https://", answer.text)


def test_files_with_a_digest_in_their_name_are_kept_for_good() -> None:
    with client() as http:
        plain = http.get(ASSET, headers={"Accept-Encoding": "identity"})
        packed = http.get(ASSET, headers={"Accept-Encoding": "gzip"})
        again = http.get("/theme.js", headers={"If-None-Match": http.get("/theme.js").headers["etag"]})
    assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert plain.content == packed.content == gzip.decompress((BUILT / f"{ASSET[1:]}.gz").read_bytes())
    assert (again.status_code, again.content) == (304, b"")


def test_below_a_prefix_the_index_names_it_everywhere() -> None:
    with client("/fleet") as http:
        answer = http.get("/fleet/tasks/report/1412")
    assert 'name="runfleet-root" content="/fleet"' in answer.text
    assert set(re.findall(r'(?:src|href)="([^"]*/)', answer.text)) <= {"/fleet/", "/fleet/assets/"}


def test_the_index_says_which_newer_calls_there_are() -> None:
    with client() as http:
        index = (http.get("/")).text
        paths = (http.get("/openapi.json")).json()["paths"]
    told = re.search(r'name="runfleet-calls" content="([^"]*)"', index)
    assert told
    assert set(told[1].split()) <= paths.keys()


@pytest.mark.parametrize("path", ["/api/nowhere", "/assets/none.js", "/assets/..%2fSOURCE", "/nowhere", "/SOURCE"])
def test_what_is_no_page_stays_a_problem(path: str) -> None:
    with client() as http:
        answer = http.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_page_is_read_only() -> None:
    with client() as http:
        answer = http.post("/tasks")
    assert answer.status_code == 405
