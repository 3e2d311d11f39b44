"""What a process says: one line an event, in the form the operator chose."""

import json
import subprocess
import sys

import pytest

from tests.commands import run_command

SPEAK = """
import logging
from shared import telemetry
from shared.settings import Settings
telemetry.configure(Settings(log_format={form!r}, log_level={level!r}))
log = telemetry.get_logger("worker")
log.debug("run.claimed", attempt=0)
log.info("run.ended", run_id="r1", message="two\\r\\nlines", ok=True)
try:
    secret = "hunter2"
    1 / 0
except ZeroDivisionError:
    log.exception("api.failed")
logging.getLogger("litestar").warning("from %s", "outside")
logging.getLogger("uvicorn.access").info("GET /")
"""


def speak(form: str, level: str = "info") -> list[str]:
    code = SPEAK.format(form=form, level=level)
    spoken = run_command([sys.executable, "-c", code], check=True)
    assert spoken.stderr == ""
    return spoken.stdout.splitlines()


def test_logfmt_is_one_line_an_event_tracebacks_included() -> None:
    ended, failed, outside = speak("logfmt")
    assert ended.startswith("at=20")
    assert "level=info component=worker event=run.ended run_id=r1 message=two\\nlines ok=true" in ended
    assert "event=api.failed" in failed
    assert "ZeroDivisionError" in failed
    assert 'component=litestar event="from outside"' in outside


def test_json_is_one_object_a_line() -> None:
    ended, failed, outside = (json.loads(line) for line in speak("json"))
    assert ended["event"] == "run.ended"
    assert ended["message"] == "two\r\nlines"
    assert "ZeroDivisionError" in failed["exception"]
    assert outside["component"] == "litestar"


@pytest.mark.parametrize("form", ["logfmt", "pretty", "json"])
def test_foreign_text_controls_no_terminal(form: str) -> None:
    code = """
from shared import telemetry
from shared.settings import Settings
telemetry.configure(Settings(log_format={form!r}))
odd = chr(27) + "[2J" + chr(0x9b) + "31m" + chr(13) + "level=info" + chr(0x202e) + chr(0x2028)
try:
    raise ValueError(odd)
except ValueError:
    telemetry.get_logger("worker").exception("run.broken", task=odd)
"""
    command = [sys.executable, "-c", code.format(form=form)]
    said = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout.decode()
    assert "run.broken" in said
    assert "31m" in said
    assert [char for char in said if not char.isprintable() and char != "\n"] == []


def test_a_pipe_gets_logfmt_when_nothing_was_chosen() -> None:
    assert "event=run.ended" in speak("auto")[0]


def test_debug_enables_every_logger() -> None:
    text = "\n".join(speak("logfmt", "debug"))
    assert "run.claimed" in text
    assert "GET /" in text


def test_the_level_keeps_the_rest_out() -> None:
    assert ["api.failed" in line for line in speak("logfmt", "error")] == [True]


@pytest.mark.parametrize("form", ["pretty", "logfmt", "json"])
def test_a_traceback_shows_no_values_of_variables(form: str) -> None:
    # The traceback quotes the source line of its own frames only, never a local variable's value.
    assert "hunter2" not in "\n".join(speak(form))


def test_importing_telemetry_loads_no_structlog() -> None:
    code = "import sys, shared.telemetry as t; t.get_logger('api'); sys.exit('structlog' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0


def test_a_closed_stdout_raises_nothing() -> None:
    code = "import os; from shared import telemetry as t; os.close(1); t.get_logger('api').info('api.started')"
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode in (0, 120)


def test_a_process_that_says_nothing_loads_nothing_to_say_it_with() -> None:
    code = """
import sys
from shared import telemetry
from shared.settings import Settings
telemetry.configure_later(Settings(log_format="logfmt"))
print("structlog" in sys.modules, file=sys.stderr)
telemetry.get_logger("worker").warning("worker.restarted", pid=1)
print("structlog" in sys.modules, "rich" in sys.modules, file=sys.stderr)
"""
    spoken = run_command([sys.executable, "-c", code], check=True)
    assert spoken.stderr.splitlines() == ["False", "True False"]
    assert "level=warning component=worker event=worker.restarted pid=1" in spoken.stdout
