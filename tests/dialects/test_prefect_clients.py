"""Prefect's own client, unmodified, against a server of ours: every group of its acceptance script."""

import pytest

from tests.dialects.conftest import Vendor
from tests.http.conftest import Served

GROUPS = "meta,create,read,state,cache,filter,edit,sync,raw", "flow,concurrency", "worker,strict"


@pytest.mark.parametrize("groups", GROUPS)
def test_the_acceptance_script_passes(open_api: Served, vendor: Vendor, groups: str) -> None:
    said = vendor("prefect", "prefect_client.py", f"{open_api.url}/api", "--only", groups)
    assert " 0 failed" in said
