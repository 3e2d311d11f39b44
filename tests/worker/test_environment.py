"""What a run's process is started with."""

from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from shared.runs import Record
from shared.settings import REDIS_URL_NAMES
from shared.tasks import Param, Task
from worker.execution import environment
from worker.execution.environment import Inherited, Unprepared

RUN = UUID("01a201bd-d1e0-759c-9d5a-95512308bfbb")
EXECUTION = UUID("01a201bd-d1e0-759c-9d5a-000000000001")


def record(**values: Any) -> Record:
    """A record of which only *values* matter."""
    return Record(**{"task": "", "triggered_by": "", "definition": "", **values})


def compose(task: Task, environ: dict[str, str] | None = None, **values: Any) -> tuple[dict[str, str], frozenset[str]]:
    params = values.pop("params", {})
    return environment.compose(task, RUN, record(**values), params, "/out", Inherited(environ or {}))


def test_our_settings_stay_with_us() -> None:
    env, _ = compose(Task(name="t", run="x"), {"RUNFLEET_TOKEN": "x", "RUNFLEET_SECRET": "y", "PATH": "/bin"})
    assert env["PATH"] == "/bin"
    assert not {"RUNFLEET_TOKEN", "RUNFLEET_SECRET"} & env.keys()


def test_variables_for_redis_and_lineage_are_not_inherited() -> None:
    ours = dict.fromkeys(
        [*REDIS_URL_NAMES, "OPENLINEAGE_URL", "OPENLINEAGE_API_KEY", "OPENLINEAGE__TRANSPORT__TYPE"], "x"
    )
    assert "x" not in compose(Task(name="t", run="x"), {**ours, "DATABASE_URL": "y"})[0].values()


def test_only_what_is_allowed_is_inherited() -> None:
    environ = {"PATH": "/bin", "LC_ALL": "C", "LC_TIME": "C", "LANG": "C", "DATABASE_URL": "y", "REDIS_URL": "x"}
    task = Task(name="t", run="x", env={"GIVEN": "1"})

    def names(*allowed: str) -> set[str]:
        env, _ = environment.compose(task, RUN, record(), {}, "/out", Inherited(environ, allowed))
        return {name for name in env if not name.startswith("RUNFLEET_")} - {"TRACEPARENT", "GIVEN"}

    assert names("*") == environ.keys() - {"REDIS_URL"}
    assert names("PATH", "LC_*") == {"PATH", "LC_ALL", "LC_TIME"}
    assert names("LANG") == {"LANG"}
    assert names("R*") == set()


def test_secrets_of_another_task_are_not_inherited() -> None:
    environ = {"VICTIM": "v1ctim", "MINE": "m1ne", "PATH": "/bin"}
    withheld = frozenset(["VICTIM", "MINE"])
    task = Task(name="t", run="x", secrets={"KEY": "<${MINE}>"})
    env, hidden = environment.compose(task, RUN, record(), {}, "/out", Inherited(environ), withheld)
    assert {name: env.get(name) for name in (*environ, "KEY")} == {
        "VICTIM": None,
        "MINE": "m1ne",
        "PATH": "/bin",
        "KEY": "<m1ne>",
    }
    assert {"m1ne", "<m1ne>"} <= hidden


def test_no_secret_is_made_of_the_one_that_signs() -> None:
    for name in ("RUNFLEET_SECRET", "RUNFLEET_SECRET_OLD"):
        with pytest.raises(Unprepared, match=r"secret X of task t .*no run may have"):
            compose(Task(name="t", run="x", secrets={"X": f"a ${{{name}}}"}), {name: "the secret that signs"})


def test_the_users_own_python_path_comes_back() -> None:
    task = Task(name="t", run="x")
    assert compose(task, {"RUNFLEET_USER_PYTHONPATH": "/theirs", "PYTHONPATH": "/ours"})[0]["PYTHONPATH"] == "/theirs"
    assert "PYTHONPATH" not in compose(task, {"RUNFLEET_USER_PYTHONPATH": "", "PYTHONPATH": "/ours"})[0]
    assert compose(task, {"PYTHONPATH": "/theirs"})[0]["PYTHONPATH"] == "/theirs"


def test_the_runs_own_facts_are_passed_and_nothing_hides_them() -> None:
    task = Task(name="t", run="x", env={"RUNFLEET_TASK": "hidden?"})
    env, _ = compose(task, execution=str(EXECUTION), replica_index=2, replica_count=5, attempt=1, tick_us=1_000_000)
    facts = {name.removeprefix("RUNFLEET_"): value for name, value in env.items() if name.startswith("RUNFLEET_")}
    assert facts == {
        "TASK": "t",
        "RUN_ID": str(RUN),
        "EXECUTION_ID": str(EXECUTION),
        "REPLICA_INDEX": "2",
        "REPLICA_COUNT": "5",
        "RETRY_ATTEMPT": "1",
        "TRIGGERED_BY": "",
        "SCHEDULED_FOR": "1970-01-01T00:00:01.000000Z",
        "OUTPUT": "/out",
    }
    assert env["TRACEPARENT"] == f"00-{EXECUTION.hex}-9d5a95512308bfbb-01"


def test_later_sources_win_and_files_are_read_on_the_worker(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\n\nexport A=file\nB='quoted value'\nC=\"x=y\"\n")
    (tmp_path / "hidden").write_text("D=deep\nA=secret file\n")
    task = Task(
        name="t",
        run="x",
        working_dir=str(tmp_path),
        env_file="env",
        env={"A": "task", "E": "1"},
        secrets_file="hidden",
        secrets={"D": "${KEY}!"},
    )
    env, hidden = compose(task, {"A": "worker", "KEY": "k3y"})
    assert {name: env[name] for name in "ABCDE"} == {
        "A": "secret file",
        "B": "quoted value",
        "C": "x=y",
        "D": "k3y!",
        "E": "1",
    }
    assert sorted(hidden) == ["k3y", "k3y!", "secret file"]


def test_what_is_missing_on_this_worker_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unprepared, match=r"nowhere of task t cannot be read"):
        compose(Task(name="t", run="x", env_file=str(tmp_path / "nowhere")))
    with pytest.raises(Unprepared, match=r"secret PW of task t .*NOT_SET"):
        compose(Task(name="t", run="x", secrets={"PW": "${NOT_SET}"}))
    (tmp_path / "bad").write_text("A=1\nnot a pair\n")
    with pytest.raises(Unprepared, match=r"bad:2 of task t is not NAME=value"):
        compose(Task(name="t", run="x", env_file=str(tmp_path / "bad")))


def test_parameters_are_accepted_anew() -> None:
    task = Task(
        name="t", run="x", params={"day": Param(pattern="[0-9]+"), "kind": Param(choices=("a", "b"), default="a")}
    )

    def parameters(text: str) -> dict[str, Any]:
        return environment.parameters(task, record(params=text))

    assert parameters('{"day": "31"}') == {"day": "31", "kind": "a"}
    assert parameters("") == {"kind": "a"}
    for bad, why in {
        '{"day": "31; reboot"}': r"params.day must match \[0-9\]\+, not",
        '{"kind": "c"}': "params.kind must be one of",
        '{"other": 1}': "params.other is not a parameter of task t",
        '["day"]': "are not names and values",
        "{": "cannot be read",
        "[" * 100_000: "cannot be read",
    }.items():
        with pytest.raises(Unprepared, match=why):
            parameters(bad)


def test_parameters_are_whole_arguments_and_never_part_of_the_shell_text() -> None:
    evil = "; rm -rf / $(id) `id` '\"\n"
    task = Task(
        name="t",
        run="echo hi",
        params={
            "first": Param(pass_as="arg"),
            "by_name": Param(pass_as="option"),
            "loud": Param(type="bool", pass_as="flag"),
            "quiet": Param(type="bool", pass_as="flag"),
            "count": Param(type="number"),
        },
    )
    values = {"first": evil, "by_name": evil, "loud": True, "quiet": False, "count": 3}
    assert environment.arguments(task, values) == (
        "/bin/sh",
        "-e",
        "-c",
        "echo hi",
        "t",
        evil,
        "--by-name",
        evil,
        "--loud",
    )
    assert compose(task, params=values)[0]["RUNFLEET_PARAM_COUNT"] == "3"
    listed = msgspec.structs.replace(task, run=("cp", "-v"))
    assert environment.arguments(listed, {"first": "a b"}) == ("cp", "-v", "a b")


def test_outputs_of_earlier_steps_are_handed_on_as_variables() -> None:
    inputs: list[tuple[str, dict[str, Any]]] = [
        ("build.image", {"tag": "v1", "sizes": [1, 2]}),
        ("shard", {"rows": "1"}),
        ("shard", {"rows": "2", "long": "x" * 70_000, "has nul": "a\0b"}),
    ]
    env, _ = environment.compose(Task(name="t", run="x"), RUN, record(), {}, "/out", Inherited({}), inputs=inputs)
    handed_on = {name: value for name, value in env.items() if name.startswith("RUNFLEET_OUTPUT_")}
    assert handed_on == {
        "RUNFLEET_OUTPUT_BUILD_IMAGE_TAG": "v1",
        "RUNFLEET_OUTPUT_BUILD_IMAGE_SIZES": "[1,2]",
        "RUNFLEET_OUTPUT_SHARD_ROWS": "2",
        "RUNFLEET_OUTPUT_SHARD_HAS_NUL": "ab",
    }
