"""What `runfleet check` says of a task file that is right, and the mistakes that lead a reader on."""

from pathlib import Path

import pytest

from shared.cli.check import check
from shared.config import read_config
from shared.errors import ConfigInvalid

MINUTELY = '[tasks.a]\nrun = "true"\ncron = "* * * * *"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "runfleet.toml"
    path.write_text(text)
    return path


def advice(folder: Path, text: str) -> list[str]:
    config = read_config(write(folder, text), {}, with_advice=True)
    return [str(warning).replace(f"{folder}/", "") for warning in config.warnings]


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(ConfigInvalid) as caught:
        read_config(write(folder, text), {})
    return str(caught.value).replace(f"{folder}/", "")


def test_a_file_without_a_task_is_mentioned(tmp_path: Path) -> None:
    (said,) = advice(tmp_path, '[defaults]\ntimeout = "5m"\n')
    assert said == "runfleet.toml: has no tasks; a task begins with a line such as [tasks.report]"


# History


def test_keep_runs_that_cuts_long_before_keep_for_is_named_with_what_to_write(tmp_path: Path) -> None:
    (said,) = advice(tmp_path, MINUTELY)
    assert said == (
        "runfleet.toml:1: tasks.a: 1000 of each end reason are about 16h at this schedule, not keep_for (30d): "
        "write keep_runs = 43200, or a shorter keep_for"
    )


@pytest.mark.parametrize(
    "more",
    ["keep_runs = 43200", "keep_runs = 21600", 'keep_for = "16h"', 'cron = "@hourly"'],
    ids=["all", "half", "short", "seldom"],
)
def test_keep_runs_that_is_enough_is_not_mentioned(tmp_path: Path, more: str) -> None:
    text = MINUTELY.replace('cron = "* * * * *"\n', "") if more.startswith("cron") else MINUTELY
    assert advice(tmp_path, text + more) == []


def test_replicas_and_the_place_of_the_key_count(tmp_path: Path) -> None:
    (said,) = advice(tmp_path, '[tasks.a]\nrun = "true"\ncron = "@hourly"\nreplicas = 60\nkeep_runs = 500\n')
    assert said.startswith("runfleet.toml:5: tasks.a.keep_runs: 500 of each end reason are about 8h")


def test_what_check_advises_can_be_written(tmp_path: Path) -> None:
    (said,) = advice(tmp_path, '[tasks.a]\nrun = "true"\ncron = "@every 1s"\nkeep_for = "300d"\n')
    assert "keep_runs = 1000000" in said


# Messages


def test_a_file_with_notify_gets_one_warning_that_nothing_is_sent_yet(tmp_path: Path) -> None:
    text = '[notify.ops]\nurl = "https://x.example/y"\n'
    for name in "ab":
        text += f'[tasks.{name}]\nrun = "true"\nnotify = ["ops"]\n'
    (said,) = advice(tmp_path, text)
    assert said.startswith("runfleet.toml:5: tasks.a.notify: has no effect")
    (said,) = advice(tmp_path, '[notify.ops]\nurl = "https://x.example/y"\n')
    assert said.startswith("runfleet.toml:1: notify.ops: has no effect")


def test_check_prints_warnings_and_is_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(write(tmp_path, MINUTELY))
    said = capsys.readouterr()
    assert "warning: " in said.err
    assert "is valid: 1 task." in said.err


# Parameters that a schedule does not give


def test_a_required_parameter_and_a_schedule_do_not_go_together(tmp_path: Path) -> None:
    assert complaint(tmp_path, MINUTELY + "[tasks.a.params.day]\nrequired = true\n") == (
        "runfleet.toml:5: tasks.a.params.day.required: is true, but a schedule gives no parameters: give it a default "
        "instead, or remove cron"
    )


def test_nor_does_one_of_a_task_that_it_depends_on(tmp_path: Path) -> None:
    text = '[tasks.c]\nrun = "true"\n[tasks.c.params.day]\nrequired = true\n'
    text += '[tasks.b]\nrun = "true"\ndepends_on = ["c"]\n'
    read_config(write(tmp_path, text), {})
    text += MINUTELY + 'depends_on = ["b"]\n'
    assert complaint(tmp_path, text) == (
        "runfleet.toml:10: tasks.a.cron: c, which it depends on, requires the parameter day, and a schedule gives "
        "none: give day a default, or remove cron"
    )


def test_a_required_parameter_without_a_schedule_is_right(tmp_path: Path) -> None:
    read_config(write(tmp_path, '[tasks.a]\nrun = "true"\n[tasks.a.params.day]\nrequired = true\n'), {})


# Hints


@pytest.mark.parametrize(
    ("key", "meant"),
    [("on_failure", "notify"), ("comand", "run"), ("concurency", "max_concurrent"), ("timeot", "timeout")],
)
def test_a_key_that_others_have_leads_to_ours(tmp_path: Path, key: str, meant: str) -> None:
    said = complaint(tmp_path, f'[tasks.a]\nrun = "true"\n{key} = "x"\n')
    assert said.endswith(f'tasks.a.{key}: unknown key; did you mean "{meant}"?')


@pytest.mark.parametrize("key", ["on_start", "enabled", "when"])
def test_a_key_that_is_like_none_leads_nowhere(tmp_path: Path, key: str) -> None:
    assert complaint(tmp_path, f'[tasks.a]\nrun = "true"\n{key} = "x"\n').endswith("unknown key")


@pytest.mark.parametrize("zone", ["CEST", "PST", "BST"])
def test_an_abbreviation_of_a_time_zone_is_called_one(tmp_path: Path, zone: str) -> None:
    said = complaint(tmp_path, MINUTELY + f'timezone = "{zone}"\n')
    assert f'"{zone}" is an abbreviation, which does not define summer time: write an IANA name like' in said
    assert "did you mean" not in said


# Includes


def test_an_include_whose_folder_is_not_there_is_refused(tmp_path: Path) -> None:
    assert complaint(tmp_path, 'include = "conf.d/*.toml"\n' + MINUTELY) == (
        'runfleet.toml:1: include: "conf.d/*.toml" matches no file: there is no folder conf.d'
    )


def test_an_include_of_an_empty_folder_is_mentioned(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    assert advice(tmp_path, 'include = ["conf.d/*.toml"]\n') == [
        'runfleet.toml:1: include[0]: "conf.d/*.toml" matches no file'
    ]


def test_names_of_a_file_that_could_not_be_read_are_not_called_missing(tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text("[tasks")
    said = complaint(tmp_path, 'include = "more.toml"\n[tasks.a]\nrun = "true"\ndepends_on = ["b"]\nlimits = ["c"]\n')
    assert "more.toml:1" in said
    assert "there is no" not in said


def test_labels_are_added_to_those_of_the_defaults(tmp_path: Path) -> None:
    text = '[defaults.labels]\nteam = "data"\ntier = "1"\n[tasks.a]\nrun = "true"\n[tasks.a.labels]\ntier = "2"\n'
    assert read_config(write(tmp_path, text), {}).tasks["a"].labels == {"team": "data", "tier": "2"}


def test_a_backoff_of_its_own_over_an_inherited_list_of_delays_is_right(tmp_path: Path) -> None:
    """Only who writes both in one place has written nonsense."""
    text = '[defaults]\nretry_delay = ["1s", "2s"]\n[tasks.a]\nrun = "true"\nretry_backoff = "linear"\n'
    task = read_config(write(tmp_path, text), {}).tasks["a"]
    assert (task.retry_delay_ms, task.retry_backoff) == ((1000, 2000), "linear")
    own = '[tasks.a]\nrun = "true"\nretry_delay = ["1s", "2s"]\nretry_backoff = "linear"\n'
    assert "is for a single retry_delay, not for a list" in complaint(tmp_path, own)
