"""A Redis user that may do no more than Runfleet needs, and one that may not do all of it."""

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pytest
import redis

from shared.cli.doctor import examine
from shared.cli.findings import Finding
from shared.settings import Settings
from shared.store import open_store
from shared.store.redis import permissions
from tests.system.conftest import StartFleet
from tests.system.test_doctor import examined, levels, running, surroundings

ROOT = Path(__file__).parents[2]
LEAST = re.search(r"ACL SETUSER (runfleet .*)", (ROOT / "docs" / "deploy.md").read_text("utf-8"))
PASSWORD = "PASSWORD"
NEEDED = [line.partition(" ")[0] for line in (*permissions.ON_NOTHING, *permissions.ON_KEYS, *permissions.ON_CHANNELS)]


def allow(path: str, *more: str) -> None:
    """Make the documented user, with *more* changes, on the server at the socket."""
    assert LEAST
    with redis.Redis(unix_socket_path=path) as client:
        client.execute_command("ACL", "SETUSER", LEAST[1].split()[0], "reset")
        client.execute_command("ACL", "SETUSER", *LEAST[1].split(), *more)


def as_user(path: str) -> str:
    return f"unix://runfleet:{PASSWORD}@{quote(path)}"


@pytest.fixture
def path(short_path: Path) -> Iterator[str]:
    """The socket of a server of this test's own."""
    with running(short_path) as url:
        yield url.removeprefix("unix://")


def test_the_documented_user_may_do_all_that_is_needed(make_fleet: StartFleet, tmp_path: Path) -> None:
    fleet = make_fleet('[tasks.hello]\nrun = "echo hello; echo a=1 >> $RUNFLEET_OUTPUT"\nretry_attempts = 1\n')
    allow(str(fleet.redis.socket))
    fleet.env["RUNFLEET_REDIS_URL"] = as_user(str(fleet.redis.socket))
    release = fleet.launch("release")
    assert release.wait() == 0, release.said()
    fleet.start("web", "scheduler", "worker")
    assert fleet.log(fleet.perform("hello")) == ["hello"]
    for process in fleet.processes:
        assert "NOPERM" not in process.said()
    found = levels(examined(tmp_path, surroundings(as_user(str(fleet.redis.socket))), "--json").stdout)
    assert found["rights"] == "ok"
    assert "error" not in (found["eviction-policy"], found["version"])


def test_each_right_that_is_missing_is_named(path: str) -> None:
    for name in NEEDED:
        allow(path, f"-{name.lower()}")
        store = open_store(Settings(redis_url=as_user(path)))
        if name not in ("EVALSHA", "EVAL", "PING"):  # with these nobody can ask at all
            assert list(store.run(permissions.refused())) == [name]
        store.close()


@pytest.fixture(scope="module")
def shared_path() -> Iterator[str]:
    """The socket of a server of this module's."""
    with TemporaryDirectory(prefix="rf-") as folder, running(Path(folder)) as url:
        yield url.removeprefix("unix://")


def rights_found(path: str) -> list[Finding]:
    found, _ = examine(surroundings(as_user(path)), Path("/nonexistent"))
    return [one for one in found if one.level in ("error", "warning") and one.code in ("rights", "redis", "settings")]


@pytest.mark.parametrize("name", NEEDED)
def test_the_doctor_names_each_right_that_is_missing(shared_path: str, name: str) -> None:
    allow(shared_path, f"-{name.lower()}")
    (found,) = rights_found(shared_path)
    assert found.level == "error"
    wanted = "@scripting" if name in ("EVAL", "EVALSHA") else name.lower()
    assert f"+{wanted}" in f"{found.message} {found.cure}"


@pytest.mark.parametrize("word", LEAST[1].split()[3:] if LEAST else [])
def test_no_word_of_the_documented_rights_is_missed_without_a_finding(shared_path: str, word: str) -> None:
    words = (LEAST[1] if LEAST else "").split()
    if word in ("resetkeys", "resetchannels", "-@all", "-@dangerous"):
        return  # it takes away
    allow(shared_path)
    with redis.Redis(unix_socket_path=shared_path) as client:
        client.execute_command("ACL", "SETUSER", "runfleet", "reset")
        client.execute_command("ACL", "SETUSER", *(one for one in words if one != word))
    found, _ = examine(surroundings(as_user(shared_path)), Path("/nonexistent"))
    if word in ("+info", "+config|get"):
        assert any("could not be read" in one.value for one in found), "it is said what cannot be told"
    else:
        assert "rights" in {one.code for one in found if one.level == "error"}, [one.message for one in found]


def test_the_doctor_names_the_right_and_how_to_give_it(path: str, tmp_path: Path) -> None:
    allow(path, "-blpop")
    said = examined(tmp_path, surroundings(as_user(path)))
    assert said.returncode == 1
    assert "Redis refuses this user +blpop" in said.stdout
    assert "ACL SETUSER runfleet +blpop" in said.stdout


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["resetkeys", "~other*"], "~{runfleet}*"),
        (["resetchannels"], "&{runfleet}*"),
        (["-@scripting"], "+@scripting"),
        (["-get", "-set"], "+get, +set"),
    ],
)
def test_keys_channels_and_scripts_that_are_refused_are_named_as_a_whole(
    change: list[str], named: str, path: str, tmp_path: Path
) -> None:
    allow(path, *change)
    said = examined(tmp_path, surroundings(as_user(path)))
    assert said.returncode == 1, said.stdout + said.stderr
    assert f"Redis refuses this user {named}\n" in said.stdout


def test_every_command_that_the_code_sends_is_among_the_needed() -> None:
    store = ROOT / "shared" / "store"
    sent: set[str] = set()
    for file in store.rglob("*.lua"):
        sent |= set(re.findall(r"redis\.p?call\(\s*'([A-Za-z]+)'", file.read_text("utf-8")))
    for package in ("shared", "api", "worker", "scheduler"):
        for file in (ROOT / package).rglob("*.py"):
            text = file.read_text("utf-8")
            sent |= set(re.findall(r"Call\(\s*\"([A-Z]+)\"", text))
            sent |= set(re.findall(r"(?:send_command|_subscribe)\(\s*\"([A-Z]+)\"", text))
    missing = {name.upper() for name in sent} - set(permissions.WANTED) - set(NEEDED)
    assert not missing, (
        "add them to shared/store/redis/permissions.py, and see that the user of docs/deploy.md may use them"
    )
    assert set(NEEDED) - {name.upper() for name in sent} <= {"EVAL", "EVALSHA", "UNSUBSCRIBE", "SUBSCRIBE", "PING"}
