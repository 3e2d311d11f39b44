"""What ``deploy/``, ``app.json`` and the Procfile say is the same, and is what the code does."""

import re

import pytest

from shared.cli import COMMANDS
from shared.settings import Settings
from tests.deploy import deploy_files
from tests.packages.builds import PACKAGES

BY_PROCFILE = {"api": "python -m api", "scheduler": "python -m scheduler", "worker": "python -m worker"}
BY_PROCFILE |= {"release": "python -m shared release"}
PROCESSES = {"web", "scheduler", "worker"}
ENDING_S = 10
"""What a worker needs beyond its grace: to stop the runs that are left, and to write down how they ended."""

COPIED = (deploy_files.DEPLOY / "Dockerfile").read_text("utf-8")
PAGE = (deploy_files.ROOT / "docs" / "deploy.md").read_text("utf-8")


def test_compose_and_units_start_what_the_procfile_starts() -> None:
    procfile = deploy_files.procfile()
    assert procfile.keys() == PROCESSES | {"release"}
    for name, line in procfile.items():
        program, command = deploy_files.composed(name).command
        assert (program, BY_PROCFILE[command]) == ("runfleet", line)
    for path in deploy_files.UNITS:
        program, command = deploy_files.served(path).command
        assert (program, BY_PROCFILE[command]) == (
            "/opt/runfleet/bin/runfleet",
            procfile[path.stem.removeprefix("runfleet-")],
        )
    assert {path.stem.removeprefix("runfleet-") for path in deploy_files.UNITS} == PROCESSES
    assert set(deploy_files.app_json()["formation"]) == PROCESSES
    assert BY_PROCFILE.keys() <= COMMANDS.keys()


def test_everything_waits_for_a_draining_worker() -> None:
    wanted_s = Settings().shutdown_grace_s + ENDING_S
    assert min(deploy_files.composed(name).stop_s for name in PROCESSES) >= wanted_s
    assert min(deploy_files.served(path).stop_s for path in deploy_files.UNITS) >= wanted_s


@pytest.mark.parametrize("path", deploy_files.UNITS, ids=lambda path: path.stem)
def test_a_unit_lets_runs_finish_and_does_not_restart_what_is_misconfigured(path: object) -> None:
    service = deploy_files.unit(path)["Service"]  # type: ignore[arg-type]  # parametrize knows no types
    assert service["KillMode"] == "mixed"
    assert (service["Restart"], service["RestartPreventExitStatus"]) == ("always", "2")
    assert service["User"] != "root"


def test_every_setting_that_is_named_exists() -> None:
    known = {"RUNFLEET_" + name.removesuffix("_s").upper() for name in Settings.__struct_fields__} | {"REDIS_URL"}
    named = set(deploy_files.image_environment()) - {"PATH"} | set(deploy_files.app_json()["env"])
    for name in deploy_files.compose()["services"]:
        named |= set(deploy_files.composed(name).environment)
    assert named <= known
    assert set(re.findall(r"\bRUNFLEET_[A-Z_]+[A-Z]\b", PAGE)) <= known


def test_the_image_holds_our_packages_and_no_more_right_than_it_needs() -> None:
    steps = deploy_files.dockerfile()
    folders = {step.text.split()[0] for step in steps if step.verb == "COPY" and step.text.split()[1].startswith("./")}
    assert folders >= set(PACKAGES)
    users = [step.text for step in steps if step.verb == "USER"]
    assert users
    assert not users[-1].startswith(("0", "root"))


def test_the_same_python_is_meant_everywhere() -> None:
    version = (deploy_files.ROOT / ".python-version").read_text("utf-8").strip()
    assert {step.text.split()[0] for step in deploy_files.dockerfile() if step.verb == "FROM"} == {
        f"python:{version}-slim"
    }


def test_the_store_keeps_what_it_accepted() -> None:
    options = " ".join(deploy_files.composed("store").command)
    assert "--appendonly yes" in options
    assert "--maxmemory-policy noeviction" in options


def test_no_service_lets_a_run_read_the_secrets_of_the_fleet() -> None:
    for name, service in deploy_files.compose()["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source not in ("..", "../deploy", "."), f"{name} mounts deploy/.env"


def test_every_link_of_the_page_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", PAGE)
    assert [link for link in links if not (deploy_files.ROOT / "docs" / link).exists()] == []
