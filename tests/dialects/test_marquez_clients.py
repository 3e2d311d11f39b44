"""marquez-python and openlineage-python against a real server, every check of the acceptance scripts."""

from tests.dialects.conftest import Vendor
from tests.http.conftest import Served


def test_marquez_python(open_api: Served, vendor: Vendor) -> None:
    said = vendor("marquez", "marquez_client.py", open_api.url)
    assert "31 passed, 0 failed" in said
    said = vendor("marquez", "marquez_client.py", open_api.url, "--only", "strict")
    assert "4 passed, 0 failed" in said


def test_openlineage_python(open_api: Served, vendor: Vendor) -> None:
    said = vendor("openlineage", "openlineage_client.py", open_api.url)
    assert "25 passed, 0 failed" in said
    said = vendor("openlineage", "openlineage_client.py", open_api.url, "--only", "strict")
    assert "6 passed, 0 failed" in said
