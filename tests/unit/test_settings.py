"""The environment as it is read: what is not set has a default, what is wrong is said all at once."""

import pytest

from shared.errors import Misconfigured
from shared.settings import REDIS_URL_NAMES, Settings, read_settings, variable


def test_an_empty_environment_gives_the_defaults_on_loopback() -> None:
    assert read_settings({}) == Settings(host="127.0.0.1")


def test_empty_and_blank_values_count_as_not_set() -> None:
    assert read_settings({"RUNFLEET_PORT": "", "RUNFLEET_QUEUES": "  "}) == Settings(host="127.0.0.1")


@pytest.mark.parametrize("position", range(len(REDIS_URL_NAMES)))
def test_the_first_redis_url_wins(position: int) -> None:
    environ = {name: f"redis://{name.lower()}" for name in REDIS_URL_NAMES[position:]}
    assert read_settings(environ).redis_url == f"redis://{REDIS_URL_NAMES[position].lower()}"


def test_a_port_from_the_platform_opens_the_api_to_all_addresses() -> None:
    settings = read_settings({"PORT": "5000"})
    assert (settings.host, settings.port) == ("0.0.0.0", 5000)


def test_our_own_port_and_host_win_over_the_platform() -> None:
    settings = read_settings({"PORT": "5000", "RUNFLEET_PORT": "9000", "RUNFLEET_HOST": "10.0.0.1"})
    assert (settings.host, settings.port) == ("10.0.0.1", 9000)


def test_units_are_not_in_the_names_of_variables() -> None:
    assert variable("redis_timeout_s") == "RUNFLEET_REDIS_TIMEOUT"
    assert read_settings({"RUNFLEET_SHUTDOWN_GRACE": "7.5"}).shutdown_grace_s == 7.5


def test_queues_are_listed_by_comma() -> None:
    assert read_settings({"RUNFLEET_QUEUES": "default, mail,gpu.big"}).queues == ("default", "mail", "gpu.big")


def test_variables_to_inherit_are_listed_by_comma() -> None:
    assert read_settings({}).inherit_env == ("*",)
    assert read_settings({"RUNFLEET_INHERIT_ENV": "PATH, LC_*"}).inherit_env == ("PATH", "LC_*")
    for bad in ("PATH LANG", "A=b", ",", "*_KEY"):
        with pytest.raises(Misconfigured, match="variable names like PATH"):
            read_settings({"RUNFLEET_INHERIT_ENV": bad})
    for ours in ("REDIS_URL", "OPENLINEAGE_API_KEY", "RUNFLEET_SECRET", "RUNFLEET_*"):
        with pytest.raises(Misconfigured, match="is never inherited"):
            read_settings({"RUNFLEET_INHERIT_ENV": f"PATH,{ours}"})


def test_users_of_runs_are_listed_by_comma() -> None:
    assert read_settings({}).run_users == ()
    assert read_settings({"RUNFLEET_RUN_USERS": "app, web-data,machine$"}).run_users == ("app", "web-data", "machine$")
    for bad in ("app web", "1000", "*", ","):
        with pytest.raises(Misconfigured, match="write user names"):
            read_settings({"RUNFLEET_RUN_USERS": bad})


def test_all_problems_are_reported_with_name_and_value() -> None:
    environ = {
        "RUNFLEET_PORT": "70000",
        "RUNFLEET_WORKER_THREADS": "2.5",
        "RUNFLEET_REDIS_TLS_VERIFY": "maybe",
        "RUNFLEET_QUEUES": "a b",
        "RUNFLEET_LOG_FORMAT": "xml",
        "PORT": "http",
    }
    with pytest.raises(Misconfigured) as caught:
        read_settings(environ)
    said = str(caught.value)
    # PORT is not even looked at when RUNFLEET_PORT is there, but a bad RUNFLEET_PORT leaves it to be read.
    for name, value in environ.items():
        assert f"{name}={value!r}" in said


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1e9", "x"])
def test_a_number_out_of_bounds_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured, match="RUNFLEET_SHUTDOWN_GRACE"):
        read_settings({"RUNFLEET_SHUTDOWN_GRACE": text})


@pytest.mark.parametrize(("text", "value"), [("on", True), ("TRUE", True), ("1", True), ("off", False), ("no", False)])
def test_switches_have_the_usual_spellings(text: str, value: bool) -> None:
    assert read_settings({"RUNFLEET_REDIS_TLS_VERIFY": text}).redis_tls_verify is value


def test_a_short_secret_is_refused_and_not_shown() -> None:
    with pytest.raises(Misconfigured, match="16 characters") as caught:
        read_settings({"RUNFLEET_SECRET": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_tasks_by_api_need_a_secret() -> None:
    with pytest.raises(Misconfigured, match="requires RUNFLEET_SECRET"):
        read_settings({"RUNFLEET_API_TASKS": "on"})
    assert read_settings({"RUNFLEET_API_TASKS": "on", "RUNFLEET_SECRET": "x" * 16}).api_tasks


def test_unknown_variables_of_ours_are_left_alone() -> None:
    assert read_settings({"RUNFLEET_MY_OWN": "x"}) == Settings(host="127.0.0.1")
