"""Redis's clock between two looks: a step is told from a look that took its time."""

import pytest

from scheduler.stored_clock import StoredClock
from shared.clock import SECOND_US

START_US = 1_800_000_000 * SECOND_US


@pytest.mark.parametrize(
    ("took_s", "went_s", "stepped_s"),
    [
        (0.0, 10.0, 0),
        (0.0, 11.9, 0),
        (0.0, 8.1, 0),
        (0.0, 3610.0, 3600),
        (0.0, -3590.0, -3600),
        (5.0, 10.0, 0),  # the answer came at once, and was read late
        (5.0, 15.0, 0),  # the question was answered late
        (5.0, 25.0, 10),
    ],
)
def test_only_what_no_time_explains_is_a_step(took_s: float, went_s: float, stepped_s: float) -> None:
    measured = [100.0]
    clock = StoredClock(lambda: measured[0])
    clock.before()
    assert clock.after(START_US) == 0
    measured[0] += 10
    clock.before()
    measured[0] += took_s
    assert clock.after(START_US + round(went_s * SECOND_US)) == stepped_s * SECOND_US


def test_stored_time_advances_by_measured_time() -> None:
    measured = [100.0]
    clock = StoredClock(lambda: measured[0])
    clock.before()
    clock.after(START_US)
    measured[0] += 2.5
    assert clock.now_us() == START_US + 2_500_000
