"""Ids sort by creation, and whoever must agree on one computes the same."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from shared import ids
from tests.waiting import in_threads

times = st.integers(0, (1 << 48) * 1000 - 5_000_000)
names = st.text(min_size=1, max_size=20)


@given(now_us=times)
def test_an_id_is_a_uuid_of_version_7_with_its_millisecond(now_us: int) -> None:
    for made in (ids.tick_id("a", now_us, 0), ids.retry_id(UUID(int=1), now_us)):
        assert (made.version, made.variant) == (7, "specified in RFC 4122")
        assert made.int >> 80 == now_us // 1000


@given(earlier=times, step=st.integers(1, 10**9), name=names)
def test_ids_sort_by_time_to_the_microsecond(earlier: int, step: int, name: str) -> None:
    later = min(earlier + step, (1 << 48) * 1000 - 1)
    assert ids.tick_id(name, earlier, 0).bytes < ids.tick_id(name, later, 0).bytes


def test_fresh_ids_increase_also_when_the_clock_stands_still_or_steps_back() -> None:
    start = 2_000_000_000_000_000
    made = [ids.new_id(now) for now in (start, start, start, start - 10**9, start + 1, start)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_fresh_ids_of_many_threads_are_all_different() -> None:
    made: list[UUID] = []

    def make() -> None:
        made.extend([ids.new_id(1_700_000_000_000_000) for _ in range(500)])

    in_threads(*[make] * 4)
    assert len(set(made)) == 2000


@given(name=names, tick=times, replica=st.integers(0, 9999))
def test_every_scheduler_computes_the_same_id_for_a_tick(name: str, tick: int, replica: int) -> None:
    assert ids.tick_id(name, tick, replica) == ids.tick_id(name, tick, replica)
    assert ids.tick_id(name, tick, replica) != ids.tick_id(name, tick, replica + 1)
    assert ids.tick_id(name, tick, replica) != ids.tick_id(name + "x", tick, replica)
    assert ids.tick_id(name, tick, replica, "one") != ids.tick_id(name, tick, replica, "another")


def test_a_tick_keeps_its_id_between_releases() -> None:
    assert str(ids.tick_id("report", 1_700_000_040_000_000, 0)) == "018bcfe6-0440-7000-8ee5-c1c9bbb5fa03"
    assert str(ids.retry_id(UUID(int=7), 1_700_000_040_000_123)) == "018bcfe6-0440-71ec-adb2-5bb90c8db93b"


@given(now_us=times)
def test_a_retry_is_named_after_its_run(now_us: int) -> None:
    one, two = ids.retry_id(UUID(int=1), now_us), ids.retry_id(UUID(int=2), now_us)
    assert one != two
    assert one.int & ((1 << 62) - 1) == ids.retry_id(UUID(int=1), 0).int & ((1 << 62) - 1)
