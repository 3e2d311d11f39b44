"""Keys made from the secret, and what a signature vouches for."""

from typing import Any

import pytest

from shared.signing import UNSIGNED, Keys
from shared.tasks import Task, define, is_trusted, signer

NEW, OLD = "the new secret of all", "the secret before that"
KEYS = Keys(NEW)


def test_a_signature_is_of_the_secret_that_made_it() -> None:
    signature = KEYS.sign("token", "ops", b"admin")
    assert KEYS.signer(signature, "token", "ops", b"admin") == "new"
    assert Keys(OLD).signer(signature, "token", "ops", b"admin") == ""


@pytest.mark.parametrize(
    ("keys", "purpose", "parts"),
    [
        (KEYS, "session", ("ops", "admin")),
        (Keys(NEW, prefix="{staging}"), "token", ("ops", "admin")),
        (KEYS, "token", ("op", "sadmin")),
        (KEYS, "token", ("opsadmin",)),
        (KEYS, "token", ("ops", "admin", "")),
        (KEYS, "token", ("ops", "read")),
    ],
    ids=["purpose", "store", "split", "joined", "one more", "content"],
)
def test_a_signature_of_one_thing_serves_for_no_other(keys: Keys, purpose: str, parts: tuple[str, ...]) -> None:
    assert keys.signer(KEYS.sign("token", "ops", "admin"), purpose, *parts) == ""


def test_while_secrets_are_rotated_the_old_one_is_accepted_and_the_new_one_signs() -> None:
    rotating = Keys(NEW, OLD)
    assert rotating.signer(Keys(OLD).sign("token", "x"), "token", "x") == "old"
    assert rotating.sign("token", "x") == KEYS.sign("token", "x")


@pytest.mark.parametrize("signature", ["", "é", "0" * 64])
def test_what_is_no_signature_is_of_no_secret(signature: str) -> None:
    assert Keys(NEW, OLD).signer(signature, "token", "x") == ""


def test_without_a_secret_nothing_is_signed_and_no_signature_is_known() -> None:
    assert not UNSIGNED
    assert UNSIGNED.sign("token", "x") == ""
    assert UNSIGNED.signer(KEYS.sign("token", "x"), "token", "x") == ""
    assert UNSIGNED.signer("", "token", "x") == ""


def test_a_definition_is_trusted_as_that_of_its_own_task_only() -> None:
    definition = define(Task(name="a", run="true"), KEYS)
    assert is_trusted(definition, KEYS, "a")
    assert not is_trusted(definition, KEYS, "b")
    assert not is_trusted(definition, Keys(OLD), "a")
    assert is_trusted(definition, UNSIGNED, "a")


def test_a_definition_of_the_old_secret_is_trusted_during_rotation() -> None:
    definition = define(Task(name="a", run="true"), Keys(OLD))
    assert is_trusted(definition, Keys(NEW, OLD), "a")
    assert signer(definition, Keys(NEW, OLD), "a") == "old"
    assert not is_trusted(definition, KEYS, "a")


def test_a_default_that_is_written_down_makes_no_other_definition() -> None:
    retry: Any = "".join(["re", "try"])
    said = Task(name="a", run="true", on_interrupt=retry, keep_runs=int("1000"), queue="".join(["def", "ault"]))
    assert define(said) == define(Task(name="a", run="true"))
