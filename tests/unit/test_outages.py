"""What a scheduler says was the matter when ticks were missed: what it knows, and nothing else."""

import pytest

from scheduler.outages import Outages


def known() -> Outages:
    outages = Outages()
    outages.led_from(100)
    outages.began("Redis was away", 200)
    outages.began("Redis was away", 220)
    outages.ended("Redis was away", 300)
    outages.ended("Redis was full", 310)
    outages.was("no scheduler was leading", 400, 450)
    outages.began("Redis was full", 440)
    return outages


@pytest.mark.parametrize(
    ("first", "last", "why"),
    [
        (10, 20, "no scheduler was leading"),
        (10, 150, "no scheduler was leading"),
        (110, 150, "the scheduler could not fire them (its log says why)"),
        (150, 200, "Redis was away"),
        (250, 260, "Redis was away"),
        (300, 350, "Redis was away"),
        (301, 350, "the scheduler could not fire them (its log says why)"),
        (410, 420, "no scheduler was leading"),
        (410, 500, "no scheduler was leading and Redis was full"),
        (500, 600, "Redis was full"),
    ],
)
def test_missed_ticks_are_put_down_to_what_was_known_at_their_time(first: int, last: int, why: str) -> None:
    assert known().why(first, last) == why


def test_before_it_ever_led_it_reports_no_leader() -> None:
    assert Outages().why(1, 2) == "no scheduler was leading"
