"""What must not be shown is recognised in every form that programs commonly write it in."""

import base64
import json
import re
import shlex
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest

from worker.logs.masking import REDACTED, Mask, mask

SECRET = "pä55/w\"ord 'with' \\ + &=?~"
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": json.dumps,
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON with slashes escaped": lambda text: json.dumps(text).replace("/", "\\/"),
    "part of a URL": lambda text: f"https://host/?{urlencode({'password': text})}&x=1",
    "path of a URL": quote,
    "user of a URL": lambda text: f"postgres://me:{quote(text, safe='')}@db/x",
    "URL in small letters": lambda text: re.sub("%..", lambda code: code[0].lower(), quote_plus(text)),
    "Python": repr,
    "shell": shlex.quote,
    "Base64": lambda text: base64.b64encode(text.encode()).decode(),
    "Base64 with a line's end": lambda text: base64.b64encode(f"{text}\n".encode()).decode(),
    "Basic authentication": lambda text: base64.b64encode(f"me:{text}".encode()).decode(),
    "Base64 for URLs": lambda text: base64.urlsafe_b64encode(f"user:{text}!".encode()).decode(),
}


def leftovers(text: str, shown: str) -> list[str]:
    """Parts of *text* of some length that *shown* still has."""
    return [text[i : i + 6] for i in range(len(text) - 5) if text[i : i + 6] in shown]


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_masked_in_every_form(form: str) -> None:
    written = FORMS[form](SECRET)
    shown = mask(frozenset([SECRET])).text(f"before {written} after")
    assert REDACTED in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    whole = FORMS[form]("@" * 24)  # what of the form is no part of the secret
    assert not [part for part in leftovers(written, shown) if part not in whole]


def test_very_short_and_common_values_are_masked_nowhere() -> None:
    values = frozenset(["", "1", "abc", "true", "production", "None", "localhost"])
    assert mask(values).text("abc=1 is true in production; None at localhost") == (
        "abc=1 is true in production; None at localhost"
    )
    assert mask(frozenset(["abcd"])).text("abcd") == REDACTED


def test_a_short_secret_of_another_task_is_no_reason_to_mask() -> None:
    assert mask(frozenset(["four"]), frozenset(["seven77", "eight888"])).text("four seven77 eight888") == (
        f"{REDACTED} seven77 {REDACTED}"
    )


def test_names_and_numbers_at_any_depth_are_masked() -> None:
    hides = Mask(["hunter2!", "31415926"])
    value = {"hunter2!": [{"deep": ["x hunter2! y", 31415926, 2.5, True, None]}], "n": "31415926"}
    assert hides.value(value) == {
        REDACTED: [{"deep": [f"x {REDACTED} y", REDACTED, 2.5, True, None]}],
        "n": REDACTED,
    }


def test_bytes_that_are_no_text_are_masked() -> None:
    secret = b"\xff\xfesecret".decode("utf-8", "surrogateescape")  # as Python reads a variable
    assert Mask([secret]).raw(b"a \xff\xfesecret b") == b"a [redacted] b"


def test_the_same_secrets_make_one_mask() -> None:
    known = frozenset(["of-another-task"])
    assert mask(frozenset(["of-this-task"]), known) is mask(frozenset(["of-this-task"]), known)
