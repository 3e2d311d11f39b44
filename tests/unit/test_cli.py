"""The command line around its commands: what it imports, what the shell learns, what our processes inherit."""

import os
import sys
import sysconfig
from pathlib import Path

import pytest

from shared import errors
from shared.cli import COMMANDS, EXIT_CODES, main
from shared.cli.data_dir import SOCKET_PATH_MAX, DataFolder
from shared.cli.valkey_server import arguments, find_server, url
from shared.isolation import USER_PYTHONPATH, isolated
from tests.commands import run_command

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("words", [["version"], ["--help"], ["check", "no-such.toml"]])
def test_answering_a_person_loads_no_server_library(words: list[str]) -> None:
    code = (
        "import sys; from shared.cli import main; main(sys.argv[1:])\n"
        "print(sorted({'litestar', 'dramatiq', 'redis', 'structlog'} & sys.modules.keys()), file=sys.stderr)"
    )
    answered = run_command([sys.executable, "-c", code, *words], cwd=ROOT, check=True)
    assert answered.stderr.endswith("[]\n")


def test_the_script_hides_its_environment_before_it_imports_anything_slow() -> None:
    code = "import sys, shared.__main__; print('cyclopts' in sys.modules)"
    answered = run_command([sys.executable, "-c", code], cwd=ROOT)
    assert answered.stdout == "False\n"


def test_every_command_can_be_imported_and_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
        assert COMMANDS[name][1] in capsys.readouterr().out


@pytest.mark.parametrize("words", [["no-such-command"], ["check", "--no-such-option"], ["up", "--port", "many"]])
def test_a_mistake_in_the_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == EXIT_CODES["usage"] == 2
    assert capsys.readouterr().err


def test_a_wrong_task_file_exits_with_1_and_lists_all_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runfleet.toml"
    path.write_text('[tasks.a]\nrn = "true"\n[tasks.b]\nrun = "true"\ncron = "5"\n')
    assert main(["check", str(path)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "tasks.a.rn" in said.err
    assert "tasks.b.cron" in said.err


def test_check_shows_when_tasks_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runfleet.toml"
    path.write_text(
        '[tasks.a]\nrun = "true"\ncron = "0 12 1 1 *"\ntimezone = "Europe/Berlin"\n[tasks.b]\nrun = "true"\n'
    )
    assert main(["check", str(path)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "-01-01 12:00:00+01:00" in first
    assert second == "b: when triggered"


def test_an_unreachable_store_exits_with_6(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runfleet.toml"
    path.write_text('[tasks.a]\nrun = "true"\n')
    monkeypatch.setenv("RUNFLEET_REDIS_URL", f"unix://{tmp_path}/nobody.sock")
    assert main(["apply", str(path)]) == EXIT_CODES["unreachable"] == 6
    assert capsys.readouterr().err


def test_an_error_without_a_name_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.cli.version.sys", None)
    with pytest.raises(AttributeError):
        main(["version"])


def test_our_processes_do_not_see_the_users_python_path() -> None:
    env = isolated({"PYTHONPATH": "/theirs", "HOME": "/home"})
    assert env.get("PYTHONPATH") in (None, str(ROOT))
    assert env[USER_PYTHONPATH] == "/theirs"
    assert isolated(env)[USER_PYTHONPATH] == "/theirs"


def test_a_users_own_api_package_does_not_shadow_ours(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    found = run_command(
        [sys.executable, "-P", "-c", "import api; print(api.__file__)"],
        cwd=tmp_path,
        env=isolated(os.environ | {"PYTHONPATH": str(tmp_path)}),
        check=True,
    )
    assert Path(found.stdout.strip()) == ROOT / "api" / "__init__.py"


def test_an_installed_runfleet_needs_no_python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = sysconfig.get_path("platlib")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(ROOT) if name == "purelib" else libraries)
    assert "PYTHONPATH" not in isolated({})


def test_secret_and_token_are_kept_and_private(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path / "data"), DataFolder(tmp_path / "data")
    assert first.secret() == second.secret()
    assert first.token() == second.token()
    assert len(first.secret()) >= 32
    assert {path.stat().st_mode & 0o777 for path in (first.path / "secret", first.path / "token")} == {0o600}
    assert first.path.stat().st_mode & 0o777 == 0o700


def test_a_socket_path_is_short_enough_wherever_the_folder_is(tmp_path: Path) -> None:
    deep = DataFolder(tmp_path / ("d" * 90) / ("e" * 90))
    assert len(os.fsencode(deep.socket())) <= SOCKET_PATH_MAX
    assert deep.socket() == DataFolder(deep.path).socket()
    assert deep.socket().parent.stat().st_mode & 0o777 == 0o700
    deep.socket().parent.rmdir()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.Misconfigured, match=r"file/data cannot be written .* --data"):
        DataFolder(tmp_path / "file" / "data")


def test_the_embedded_store_never_evicts_and_appends_to_a_file(tmp_path: Path) -> None:
    words = arguments(find_server(), tmp_path, tmp_path / "valkey.sock")
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["--maxmemory-policy"] == "noeviction"
    assert (options["--appendonly"], options["--appendfsync"], options["--port"]) == ("yes", "everysec", "0")
    assert url(Path("/a b/s")) == "unix:///a%20b/s"
