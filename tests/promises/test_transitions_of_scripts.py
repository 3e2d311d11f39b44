"""Each script declares transitions of the table, and each row of the table is performed by some script."""

from shared.runs import TRANSITIONS
from shared.store.redis.scripts import script_names
from tests.store.transition_check import transitions


def test_every_declared_transition_is_in_the_table() -> None:
    unknown = {name: set(transitions(name)) - set(TRANSITIONS) for name in script_names()}
    assert {name: words for name, words in unknown.items() if words} == {}


def test_every_transition_of_the_table_is_performed_by_a_script() -> None:
    assert {transition for name in script_names() for transition in transitions(name)} == set(TRANSITIONS)
