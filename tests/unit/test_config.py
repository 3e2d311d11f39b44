"""The task file: what it accepts, what it says about what it doesn't, and that it always says it."""

import importlib.util
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path

import jsonschema_rs
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.config import (
    Notify,
    format_duration,
    format_size,
    mismatch,
    parse_duration,
    parse_size,
    parse_task,
    read_config,
    schema,
    substitute,
)
from shared.config.keys import NOTIFY_KEYS, TASK_KEYS
from shared.config.params import PARAM_KEYS
from shared.config.toml_lines import find_lines, line_of
from shared.errors import ConfigInvalid, Invalid
from shared.tasks import Param, Task

ROOT = Path(__file__).parents[2]


def read(folder: Path, text: str, environ: Mapping[str, str] | None = None, **files: str) -> dict[str, Task]:
    return read_config(write(folder, text, **files), environ or {}).tasks


def write(folder: Path, text: str, **files: str) -> Path:
    for name, content in {"runfleet": text, **files}.items():
        (folder / f"{name}.toml").write_text(content, encoding="utf-8")
    return folder / "runfleet.toml"


def complaints(folder: Path, text: str, environ: Mapping[str, str] | None = None, **files: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        read(folder, text, environ, **files)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


# Durations and sizes


@given(st.integers(0, 10**15))
def test_a_duration_reads_back_as_it_was_written(duration_ms: int) -> None:
    assert parse_duration(format_duration(duration_ms)) == duration_ms


@given(st.integers(0, 10**15))
def test_a_size_reads_back_as_it_was_written(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("1h30m", 5_400_000), ("2d", 172_800_000), ("0s", 0)],
)
def test_a_duration_is_milliseconds(text: str, duration_ms: int) -> None:
    assert parse_duration(text) == duration_ms
    assert format_duration(duration_ms) == text


@pytest.mark.parametrize(("text", "size"), [("500b", 500), ("64kb", 65_536), ("10mb", 10_485_760), ("1gb", 2**30)])
def test_a_size_is_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("30", 'not a bare number: write "30s" or "30m" instead of 30'),
        ("-1.5", 'not a bare number: write "1s" or "1m" instead of -1.5'),
        ("1H 30M", 'not "1H 30M": write "1h30m"'),
        ("30m1h", 'not "30m1h"'),
        ("", 'not ""'),
        ("ten\nseconds", 'not "ten\\nseconds"'),
        ("٣s", 'not "\\u0663s"'),
        ("9" * 16 + "s", f'not "{"9" * 16}s"'),
    ],
)
def test_what_is_no_duration_is_told_what_to_write(text: str, cure: str) -> None:
    with pytest.raises(ValueError, match="must be a duration") as caught:
        parse_duration(text)
    assert str(caught.value) == f"must be a duration like 500ms, 10s, 5m, 1h30m or 2d, {cure}"


@pytest.mark.parametrize(
    ("text", "cure"),
    [("5", 'not a bare number: write "5kb" or "5mb" instead of 5'), ("10MB", 'not "10MB": write "10mb"')],
)
def test_what_is_no_size_is_told_what_to_write(text: str, cure: str) -> None:
    with pytest.raises(ValueError, match="must be a size") as caught:
        parse_size(text)
    assert str(caught.value) == f"must be a size like 500b, 64kb, 10mb or 1gb, {cure}"


# One bad line, one message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('cronn = "@daily"', 'cronn: unknown key; did you mean "cron"?'),
        ("retries = 3", 'retries: unknown key; did you mean "retry_attempts"?'),
        ("zzz = 1", "zzz: unknown key"),
        ('"a b" = 1', '"a b": unknown key'),
        ("replicas = true", "replicas: must be a whole number from 1 to 10000, not true"),
        ("replicas = 0", "replicas: must be a whole number from 1 to 10000, not 0"),
        ("replicas = 1.0", "replicas: must be a whole number from 1 to 10000, not 1.0"),
        ('priority = "9"', 'priority: must be a whole number from 0 to 9, not "9"'),
        ("retry_jitter = 1.5", "retry_jitter: must be a number from 0 to 1, not 1.5"),
        ("retry_jitter = nan", "retry_jitter: must be a number from 0 to 1, not nan"),
        ('manual_trigger = "yes"', 'manual_trigger: must be true or false, not "yes"'),
        ("description = 5", 'description: must be a string, not the number 5: write "5"'),
        ('tags = "one"', 'tags: must be a list, not "one": write ["one"]'),
        ('tags = ["a", "a"]', 'tags[1]: "a" is listed twice: keep one'),
        (
            "timeout = 30",
            "timeout: must be a duration like 500ms, 10s, 5m, 1h30m or 2d, "
            'not a bare number: write "30s" or "30m" instead of 30',
        ),
        ('timeout = "0s"', "timeout: must be a duration from 1ms to 365d, not 0s"),
        ('log_max_size = "2gb"', "log_max_size: must be a size from 1kb to 1gb, not 2gb"),
        ('on_overlap = "skipp"', 'on_overlap: must be one of "queue", "skip", "kill", not "skipp"; '
         'did you mean "skip"?'),
        ('stop_signal = "TREM"', 'stop_signal: "TREM" is not a signal; did you mean "SIGTERM"?'),
        ('timezone = "europe/berlin"', 'timezone: "europe/berlin" is not a known time zone; '
         'did you mean "Europe/Berlin"?'),
        ('timezone = "../UTC"', 'timezone: "../UTC" is not a known time zone; did you mean "UTC"?'),
        ('umask = "888"', 'umask: must be octal, from "000" to "777", like "022", not "888"'),
        ("nice = 20", "nice: must be a whole number from -20 to 19, not 20"),
        ("success_codes = []", "success_codes: must not be empty"),
        ("success_codes = [0, 256]", "success_codes[1]: must be a whole number from 0 to 255, not 256"),
        ('retry_on = ["stopped"]', 'retry_on[0]: "stopped" is never retried (it was stopped on purpose): remove it'),
        ('retry_on = ["exit:9-3"]', 'retry_on[0]: "exit:9-3" is an empty range: write "exit:3-9"'),
        (
            'retry_on = ["fail"]',
            'retry_on[0]: must be one of "failed", "timeout", "crashed", "log_overflow", '
            'or like "exit:75" or "exit:64-78" (0 to 255), not "fail"; did you mean "failed"?',
        ),
        ('retry_delay = "10m"', 'retry_delay: is longer than retry_max_delay (5m): write retry_max_delay = "10m" too'),
        ("retry_delay = []", "retry_delay: must not be empty"),
        ("env = { RUNFLEET_X = '1' }",
         "env.RUNFLEET_X: names that start with RUNFLEET_ are Runfleet's own: choose another"),
        ("env = { '1X' = '1' }", "env.1X: a variable's name is letters, digits and _, and doesn't start with a digit"),
        ("secrets = { PIN = 1234 }", "secrets.PIN: must be a string: write it in quotes"),
        ('secrets = { K = "${" }', "secrets.K: has a ${ that names no variable: "
         "write ${NAME}, or $${ for the two characters themselves"),
        ('group = "a\\u0000b"', "group: has a NUL character, which no argument or variable can hold: remove it"),
        ('queue = "a b"', 'queue: must be a queue\'s name: 1 to 100 letters, digits and . _ -, not "a b"'),
        ('isolate = false', "isolate: is for call only: remove it"),
        ('call = "m:f"', "call: run and call are given: keep one"),
        ('depends_on = ["x"]', "depends_on[0]: x → x: a task can't depend on itself; remove it"),
        ('depends_on = ["y"]', "depends_on[0]: there is no [tasks.y]"),
        ('limits = ["db"]', "limits[0]: there is no [limits.db]"),
        ('notify = ["ops"]', "notify[0]: there is no [notify.ops]"),
        ('params.p.pass = "flag"', 'params.p.pass: "flag" is for type = "bool" only, not "string": write "option"'),
        ('params.p.pattern = "("', "params.p.pattern: is not a regular expression: "
         "missing ), unterminated subpattern at position 0"),
        ("params.p.default = 5", 'params.p.default: must be a string, not 5'),
        ('params.p = {choices = ["a"], default = "b"}', 'params.p.default: must be one of "a", not "b"'),
        ("params.a-b = {}", "params.a-b: a parameter's name is letters, digits and _, and doesn't start with a digit"),
        ('params.p = {type = "number", choices = ["a"]}', 'params.p.choices[0]: must be a number, not "a"'),
        ("env = { A = '${NOPE}' }", "env.A: ${NOPE} is not set: "
         "set it in the environment, or write $${NOPE} for the text itself"),
    ],
)  # fmt: skip
def test_a_bad_line_gets_one_message_with_its_place(tmp_path: Path, line: str, message: str) -> None:
    assert complaints(tmp_path, f'[tasks.x]\nrun = "true"\n{line}\n') == [f"runfleet.toml:3: tasks.x.{message}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tasks = 1", ["runfleet.toml:1: tasks: must be a table, not 1"]),
        ("[task.x]", ['runfleet.toml:1: task: unknown key: a task file has defaults, include, tasks, notify, limits; '
                      'did you mean "tasks"?']),
        ("[tasks.x]",
         ['runfleet.toml:1: tasks.x: must have one of run, call and external: write for example run = "date"']),
        ("\n[tasks.x]\nrun = ' '", ["runfleet.toml:3: tasks.x.run: must not be empty"]),
        ("[tasks.x]\nrun = []", ["runfleet.toml:2: tasks.x.run: must not be empty"]),
        ("[tasks.x]\nrun = ['a',\n '']", ["runfleet.toml:3: tasks.x.run[1]: must not be empty"]),
        ("[tasks.x]\nrun = 1", ['runfleet.toml:2: tasks.x.run: must be a command like "date", '
                                'or a list like ["date", "-u"], not 1']),
        ("[tasks.x]\ncall = 'f'",
         ['runfleet.toml:2: tasks.x.call: must be a Python callable like "module.path:function", not "f"']),
        ("[tasks.x]\ncall = 'm:f'\nparams.p.pass = 'arg'",
         ['runfleet.toml:3: tasks.x.params.p.pass: is "arg", but call gets its parameters as keyword arguments: '
          "remove it"]),
        ("[tasks.x]\nexternal = true\ncron = '@daily'",
         ["runfleet.toml:3: tasks.x.cron: nobody here would run an external task: remove it"]),
        ("[tasks.x]\nrun = 'true'\ncron = ['0 3 * * *', '30 3 * * *']\njitter = '31m'",
         ["runfleet.toml:4: tasks.x.jitter: 31m is longer than the shortest period of x (30m): "
          'a tick would hold back the next; write at most "30m"']),
        ("[defaults]\njitter = '5m'\n[tasks.x]\nrun = 'true'\ncron = '* * * * *'\n[tasks.y]\nrun = 'true'",
         ["runfleet.toml:2: defaults.jitter: 5m is longer than the shortest period of x (1m): "
          'a tick would hold back the next; write at most "1m"']),
        ("[tasks.'a b']\nrun = 'true'",
         ['runfleet.toml:1: tasks."a b": must be a task\'s name: 1 to 100 letters, digits and . _ -, not "a b"']),
        ("[tasks.my.task]\nrun = 'true'",
         ["runfleet.toml:1: tasks.my.task: unknown key; a name with dots is quoted",
          'runfleet.toml:1: tasks.my: must have one of run, call and external: write for example run = "date"']),
        ("[tasks.x]\nrun = 'a'\n[tasks.x]", ["runfleet.toml:3: not TOML: Cannot declare ('tasks', 'x') twice"]),
        ("[tasks.x]\nrun =\n", ["runfleet.toml:2: not TOML: Invalid value"]),
        ("a = [1,", ["runfleet.toml:1: not TOML: Invalid value"]),
        ("a = " + "[" * 5000, ["runfleet.toml: tables and lists are nested deeper than 32"]),
        (".".join("a" * 5000) + " = 1", ["runfleet.toml: tables and lists are nested deeper than 32"]),
        ("[notify.n]\n[limits.l]", ["runfleet.toml:1: notify.n: must have url: URL of a webhook, or an apprise URL.",
                                    "runfleet.toml:2: limits.l: must have max: Number of slots, one per execution."]),
        ("[notify.n]\nurl = 'secret'\non = ['fail']",
         ['runfleet.toml:2: notify.n.url: must be a URL like "https://host/path" or an apprise URL like "slack://…"',
          'runfleet.toml:3: notify.n.on[0]: must be one of "success", "failed", "stopped", "timeout", "crashed", '
          '"skipped", "log_overflow", "recovered", not "fail"; did you mean "failed"?']),
        ("[limits.l]\nmax = 0", ["runfleet.toml:2: limits.l.max: must be a whole number from 1 to 100000, not 0"]),
        ("include = 'gone.toml'", ["runfleet.toml:1: include: gone.toml cannot be read: No such file or directory"]),
        ("include = '/dev/zero'", ["runfleet.toml:1: include: /dev/zero cannot be read: "
                                   "it is a device or a pipe, name a file"]),
        ("include = '*.toml'", ["runfleet.toml:1: include: includes runfleet.toml, which includes this file: "
                                "remove one of the two"]),
        ("[tasks.a]\nrun = 'true'\ndepends_on = ['b']\n[tasks.b]\nrun = 'true'\ndepends_on = ['a']",
         ["runfleet.toml:3: tasks.a.depends_on: tasks depend on each other in a circle: a → b → a; "
          "remove one of these"]),
    ],
)  # fmt: skip
def test_a_bad_file_gets_its_messages(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert complaints(tmp_path, text) == expected


def test_all_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    main = """
include = ["b*.toml"]
[defaults]
timeout = 5
[tasks.one]
run = "true"
nice = 99
depends_on = ["two", "three"]
cron = "61 * * * *"
"""
    found = complaints(
        tmp_path, main, bad="[tasks.two]\nrun = 'true'\nreplicas = 0", bbroken="[tasks.one]\nrun = 'true'"
    )
    assert [line.split(": ")[0:2] for line in found] == [
        ["runfleet.toml:4", "defaults.timeout"],
        ["runfleet.toml:7", "tasks.one.nice"],
        ["runfleet.toml:8", "tasks.one.depends_on[1]"],
        ["runfleet.toml:9", "tasks.one.cron"],
        ["bad.toml:3", "tasks.two.replicas"],
        ["bbroken.toml:1", "tasks.one"],
    ]
    assert found[-1].endswith("tasks.one: is defined in runfleet.toml:5 too: rename or remove one of the two")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read_config(tmp_path / "none.toml", {})
    assert str(caught.value) == f"{tmp_path}/none.toml: cannot be read: No such file or directory"
    assert caught.value.problems[0].line == 0


def test_a_file_that_is_not_utf8_is_named_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"a = 1\nb = '\xe9'\n")
    with pytest.raises(ConfigInvalid) as caught:
        read_config(tmp_path / "latin.toml", {})
    assert str(caught.value) == f"{tmp_path}/latin.toml:2: is not UTF-8: save it as UTF-8"


def test_includes_in_a_circle_are_named(tmp_path: Path) -> None:
    found = complaints(tmp_path, "include = 'a.toml'", a="\ninclude = ['runfleet.toml']")
    assert found == [
        "a.toml:2: include[0]: includes runfleet.toml, which includes this file: remove one of the two",
    ]


def test_secrets_and_private_values_are_not_shown_in_messages(tmp_path: Path) -> None:
    text = '[tasks.x]\nrun = "true"\nsecrets = { A = "hunter2\\u0000", B = ["hunter2"] }\n[notify.n]\nurl = "hunter2"'
    assert not any("hunter2" in line for line in complaints(tmp_path, text))


# What is good


def test_a_file_is_read_with_its_includes_in_order(tmp_path: Path) -> None:
    main = write(tmp_path, 'include = ["c*.toml", "c1.toml"]', c2="[tasks.b]\nrun='b'", c1="[tasks.a]\nrun='a'")
    config = read_config(main, {})
    assert list(config.tasks) == ["a", "b"]
    assert [path.name for path in config.files] == ["runfleet.toml", "c1.toml", "c2.toml"]


def test_everything_can_be_said(tmp_path: Path) -> None:
    text = """
[tasks."every.thing"]
run = ["report", "--all"]
cron = ["30 2 * * *", "@hourly"]
timezone = "Europe/Berlin"
stop_signal = "int"
retry_delay = ["1s", "1m"]
retry_on = ["failed", "exit:64-78"]
umask = "022"
memory_limit = "512mb"
address_space_limit = "2gb"
user = "app"
cpu_limit = "1m"
params = { full = { type = "bool", pass = "flag", default = false }, count = { type = "number", choices = [1, 2] } }
limits = ["db"]
notify = ["ops"]
[limits.db]
max = 3
[notify.ops]
url = "https://example.org/hook"
on = "recovered"
throttle = "5m"
"""
    config = read_config(write(tmp_path, text), {})
    assert config.limits == {"db": 3}
    assert config.notify == {
        "ops": Notify(name="ops", url="https://example.org/hook", on=("recovered",), throttle_ms=300_000)
    }
    assert config.tasks["every.thing"] == Task(
        name="every.thing",
        run=("report", "--all"),
        cron=("30 2 * * *", "@hourly"),
        timezone="Europe/Berlin",
        stop_signal="SIGINT",
        retry_delay_ms=(1000, 60_000),
        retry_on=("failed", "exit:64-78"),
        umask=0o022,
        memory_limit=512 * 2**20,
        address_space_limit=2 * 2**30,
        user="app",
        cpu_limit_s=60,
        params={
            "full": Param(type="bool", pass_as="flag", default=False),
            "count": Param(type="number", choices=(1, 2)),
        },
        limits=("db",),
        notify=("ops",),
    )


def test_defaults_hold_until_a_task_says_otherwise(tmp_path: Path) -> None:
    text = """
[defaults]
timeout = "1m"
isolate = false
cron = "@daily"
tags = ["all"]
env = { A = "1", B = "1" }
[tasks.plain]
run = "true"
[tasks.own]
call = "m:f"
timeout = "2m"
tags = []
env = { B = "2" }
[tasks.theirs]
external = true
"""
    tasks = read(tmp_path, text)
    assert tasks["plain"] == Task(
        name="plain", run="true", timeout_ms=60_000, cron=("@daily",), tags=("all",), env={"A": "1", "B": "1"}
    )
    assert (tasks["own"].timeout_ms, tasks["own"].tags, tasks["own"].isolate) == (120_000, (), False)
    assert tasks["own"].env == {"A": "1", "B": "2"}
    assert tasks["theirs"].cron == ()


def test_variables_are_put_in_everywhere_but_in_commands_and_secrets(tmp_path: Path) -> None:
    text = """
[tasks.x]
run = "echo ${HOME}"
timeout = "${T}"
env = { A = "<${V}>", B = "$${V} $V $" }
secrets = { S = "${V}" }
"""
    task = read(tmp_path, text, {"T": "5s", "V": "${T}"})["x"]
    assert (task.run, task.timeout_ms, task.env) == ("echo ${HOME}", 5000, {"A": "<${T}>", "B": "${V} $V $"})
    assert task.secrets == {"S": "${V}"}
    assert substitute(task.secrets["S"], {"V": "hush"}) == "hush"


def test_the_example_is_valid_and_its_callable_exists() -> None:
    config = read_config(ROOT / "runfleet.toml", {})
    assert set(config.tasks) == {"clock", "greet", "flaky", "chatty", "report"}
    spec = importlib.util.spec_from_file_location("hello", ROOT / "docs/examples/hello.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert config.tasks["greet"].call == "examples.hello:greet"
    assert module.greet("you", times=0) == {"greeted": "you", "times": 0}


# Tasks from the API


def test_a_task_of_the_api_is_read_like_one_of_the_file() -> None:
    assert parse_task("x", {"run": "true", "timeout": "1m"}) == Task(name="x", run="true", timeout_ms=60_000)


def test_a_bad_task_of_the_api_lists_its_problems_by_location() -> None:
    with pytest.raises(Invalid) as caught:
        parse_task("x", {"run": "true", "retry_on": ["failed", "no"], "crom": "@daily", "env": {"A": 1}})
    assert [(problem.location, problem.message[:40]) for problem in caught.value.problems] == [
        ("body.retry_on[1]", 'must be one of "failed", "timeout", "cra'),
        ("body.crom", 'unknown key; did you mean "cron"?'),
        ("body.env.A", "must be a string: write it in quotes"),
    ]


@pytest.mark.parametrize(
    ("param", "value", "expected"),
    [
        (Param(), "x", ""),
        (Param(), 1, "must be a string, not 1"),
        (Param(type="number"), True, "must be a number, not true"),
        (Param(type="number"), math.inf, "must be a number, not inf"),
        (Param(type="bool"), 1, "must be true or false, not 1"),
        (Param(type="json"), {"a": [None, 1.5]}, ""),
        (Param(type="json"), {"a": 2**64}, "must be something that JSON can hold, not a table"),
        (Param(type="number", choices=(1, 2)), 1.0, ""),
        (Param(type="json", choices=(1, "a")), True, 'must be one of 1, "a", not true'),
        (Param(pattern="[a-z]+"), "abc1", 'must match [a-z]+, not "abc1"'),
    ],
)
def test_a_parameter_says_why_a_value_does_not_fit(param: Param, value: object, expected: str) -> None:
    assert mismatch(param, value) == expected


# Lines


def test_every_key_has_its_line() -> None:
    text = '''# a comment with [brackets] and = signs
top = 1 # [x]
[tasks.a] # "
run = """
[not.a.table]
key = 1 \\""" """
"quoted key".'and another' = { in = 1, line = [2, { deep = 3 }] }
list = [
  "one", # ]
  'two', [
    4,
  ],
]
[[many]]
x = 1
[[many]]
  [many.sub]
  y = \'\'\'it's\'\'\'\'
[ tasks . "b.c" ]
when = 2020-01-01T00:00:00Z
last = true'''
    lines = find_lines(text)
    assert {path: line for path, line in lines.items() if path[0] == "tasks"} == {
        ("tasks",): 3,
        ("tasks", "a"): 3,
        ("tasks", "a", "run"): 4,
        ("tasks", "a", "quoted key"): 7,
        ("tasks", "a", "quoted key", "and another"): 7,
        ("tasks", "a", "quoted key", "and another", "in"): 7,
        ("tasks", "a", "quoted key", "and another", "line"): 7,
        ("tasks", "a", "quoted key", "and another", "line", 0): 7,
        ("tasks", "a", "quoted key", "and another", "line", 1): 7,
        ("tasks", "a", "quoted key", "and another", "line", 1, "deep"): 7,
        ("tasks", "a", "list"): 8,
        ("tasks", "a", "list", 0): 9,
        ("tasks", "a", "list", 1): 10,
        ("tasks", "a", "list", 2): 10,
        ("tasks", "a", "list", 2, 0): 11,
        ("tasks", "b.c"): 19,
        ("tasks", "b.c", "when"): 20,
        ("tasks", "b.c", "last"): 21,
    }
    assert [lines[path] for path in (("many", 0, "x"), ("many", 1), ("many", 1, "sub", "y"))] == [15, 16, 18]
    assert line_of(lines, ("tasks", "a", "gone", "below")) == 3
    assert line_of(lines, ("gone",)) == 0


@example("[x]\na = [}")
@given(st.text(alphabet="ab.=[]{}\"'#\\,\n 1", max_size=60))
def test_lines_of_what_is_no_toml_do_no_harm(text: str) -> None:
    assert all(1 <= line <= text.count("\n") + 1 for line in find_lines(text).values())


# The schema


def test_the_table_of_keys_covers_the_structs() -> None:
    for struct, keys in ((Task, TASK_KEYS), (Param, PARAM_KEYS), (Notify, NOTIFY_KEYS)):
        fields = {field.name for field in msgspec.structs.fields(struct)} - {"name"}
        assert {key.field or name for name, key in keys.items()} == fields


def test_the_schema_takes_the_example_and_refuses_what_the_reader_refuses() -> None:
    validator = jsonschema_rs.validator_for(schema())
    validator.validate(tomllib.loads((ROOT / "runfleet.toml").read_text()))
    for bad in (
        {"cronn": "x"},
        {"timeout": 30},
        {"timeout": "30"},
        {"replicas": 0},
        {"on_overlap": "x"},
        {"env": {"1": ""}},
    ):
        assert not validator.is_valid({"tasks": {"a": {"run": "true", **bad}}})


def test_the_schema_says_the_defaults_as_the_file_would() -> None:
    task = schema()["definitions"]["task"]["properties"]
    assert task["keep_for"]["default"] == "30d"
    assert task["retry_delay"]["default"] == "5s"
    assert task["log_max_size"]["default"] == "1mb"
    assert "default" not in task["timeout"]
    good = {key: value["default"] for key, value in task.items() if "default" in value}
    own = {key: value for key, value in good.items() if key not in ("isolate", "external")}
    assert parse_task("x", {"run": "true", **own}) == Task(name="x", run="true")
