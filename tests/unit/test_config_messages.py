"""What the task file says about what it does not accept: each problem once, with its place and its cure."""

from pathlib import Path

import pytest

from shared.config import read_config
from shared.errors import ConfigInvalid
from tests.unit.test_config import complaints


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
        ('secrets = { K = "${" }', "secrets.K: has a ${ without a variable's name: "
         "write ${NAME}, or $${ for a literal ${"),
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
         "set it in the environment, or write $${NOPE} for the literal text"),
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
         ["runfleet.toml:3: tasks.x.cron: workers never execute an external task: remove it"]),
        ("[tasks.x]\nrun = 'true'\ncron = ['0 3 * * *', '30 3 * * *']\njitter = '31m'",
         ["runfleet.toml:4: tasks.x.jitter: 31m is longer than the shortest period of x (30m): "
          'a tick would delay the next; write at most "30m"']),
        ("[defaults]\njitter = '5m'\n[tasks.x]\nrun = 'true'\ncron = '* * * * *'\n[tasks.y]\nrun = 'true'",
         ["runfleet.toml:2: defaults.jitter: 5m is longer than the shortest period of x (1m): "
          'a tick would delay the next; write at most "1m"']),
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
                                   "it is a device or a pipe; name a file"]),
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
