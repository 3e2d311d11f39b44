"""Maps Prefect's states to our statuses and end reasons and back, and generates names for runs."""

import random
from typing import Final, Literal

from shared.runs import FATE_UNKNOWN, NOTHING_RAN, Reason, Status

StateType = Literal[
    "SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING", "COMPLETED", "FAILED", "CRASHED", "CANCELLED"
]

TERMINAL: Final = frozenset[str]({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
"""The final states."""

HELD: Final = frozenset[str]({"RUNNING", "CANCELLING"})
"""The states in which a run keeps its slots of tag limits."""

TIMED_OUT: Final = "TimedOut"
"""The name of a FAILED state that means a timeout."""

_OF_REASON: Final[dict[Reason, tuple[StateType, str]]] = {
    Reason.SUCCESS: ("COMPLETED", "Completed"),
    Reason.FAILED: ("FAILED", "Failed"),
    Reason.LOG_OVERFLOW: ("FAILED", "Failed"),
    Reason.TIMEOUT: ("FAILED", TIMED_OUT),
    Reason.CRASHED: ("CRASHED", "Crashed"),
    Reason.STOPPED: ("CANCELLED", "Cancelled"),
    Reason.SKIPPED: ("CANCELLED", "Skipped"),
}

STATUSES: Final[dict[str, tuple[Status, ...]]] = {
    "SCHEDULED": (Status.PENDING,),
    "PENDING": (Status.PENDING,),
    "PAUSED": (Status.PENDING,),
    "CANCELLING": (Status.PENDING, Status.RUNNING),
    "RUNNING": (Status.RUNNING,),
}
"""The statuses that our record may have in each state."""

REASONS: Final[dict[str, tuple[Reason, ...]]] = {
    kind: tuple(reason for reason, (of, _) in _OF_REASON.items() if of == kind) for kind in TERMINAL
}
"""The end reasons that our record may have in each state."""


def default_name(kind: str) -> str:
    """The name of a state without an explicit one."""
    return kind.capitalize()


def ending(kind: str, name: str) -> tuple[Reason, int]:
    """Our end reason and exit code for a run that a client reported in this terminal state."""
    if kind == "COMPLETED":
        return Reason.SUCCESS, 0
    if kind == "FAILED":
        return (Reason.TIMEOUT if name == TIMED_OUT else Reason.FAILED), 1
    return (Reason.CRASHED, FATE_UNKNOWN) if kind == "CRASHED" else (Reason.STOPPED, NOTHING_RAN)


def of_reason(reason: Reason) -> tuple[StateType, str]:
    """Type and name of the state for one of our end reasons."""
    return _OF_REASON[reason]


def random_name() -> str:
    """A random two-word name for a run without one."""
    return f"{random.choice(_ADJECTIVES.split())}-{random.choice(_ANIMALS.split())}"


_ADJECTIVES: Final = """
amber ancient bold brave bright brisk calm careful cheerful clever cosmic crimson curious daring eager early elegant
fancy fearless gentle golden happy honest humble icy jolly keen kind lively loyal lucky merry mighty mellow nimble noble
patient polite proud quick quiet radiant rapid royal rustic silent silver smooth solid spry steady sturdy sunny swift
tidy valiant vivid warm witty young
"""

_ANIMALS: Final = """
adder badger bear beaver bison boar buzzard camel caribou cobra condor crane crow deer dolphin dove eagle falcon ferret
finch fox gecko gibbon goose hare hawk hedgehog heron ibex jackal jay kestrel koala lark lemur lion lizard lynx magpie
marmot marten mole moose narwhal newt ocelot orca otter owl panda panther pelican puffin quail rabbit raven robin salmon
seal shrew sparrow stork swan tapir tern toad trout turtle viper walrus weasel whale wolf wombat wren yak zebra
"""
