"""Retries: the delay's curve and its bounds, and which endings are tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.retry import delay_ms, is_retried
from shared.runs import Reason
from shared.tasks import Backoff, Task


def task(
    *delays: int,
    backoff: Backoff = "constant",
    most: int = 300_000,
    jitter: float = 0.0,
    on: tuple[str, ...] = ("failed",),
) -> Task:
    return Task(
        name="t",
        run="false",
        retry_delay_ms=delays or (5000,),
        retry_backoff=backoff,
        retry_max_delay_ms=most,
        retry_jitter=jitter,
        retry_on=on,
    )


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (task(), [5000, 5000, 5000, 5000]),
        (task(1000, backoff="linear"), [1000, 2000, 3000, 4000]),
        (task(1000, backoff="exponential"), [1000, 2000, 4000, 8000]),
        (task(1000, backoff="exponential", most=3000), [1000, 2000, 3000, 3000]),
        (task(10, 200, 3000), [10, 200, 3000, 3000]),
        (task(10, 200, backoff="exponential"), [10, 200, 200, 200]),
        (task(0, backoff="exponential"), [0, 0, 0, 0]),
    ],
)
def test_a_delay_follows_its_curve(policy: Task, delays: list[int]) -> None:
    assert [delay_ms(attempt, policy, lambda: 0.0) for attempt in (1, 2, 3, 4)] == delays


policies = st.builds(
    lambda delays, backoff, most, jitter: task(*delays, backoff=backoff, most=most, jitter=jitter),
    st.lists(st.integers(0, 365 * 86_400_000), min_size=1, max_size=5),
    st.sampled_from(["constant", "linear", "exponential"]),
    st.integers(0, 365 * 86_400_000),
    st.floats(0, 1),
)


@given(policies, st.integers(1, 101))
def test_a_delay_stays_between_its_bounds(policy: Task, attempt: int) -> None:
    assert 0 <= delay_ms(attempt, policy, lambda: 0.0) <= policy.retry_max_delay_ms


@pytest.mark.parametrize(
    ("jitter", "roll", "delays"),
    [
        (0.0, 0.9, [1000, 2000, 3000, 3000]),
        (0.5, 0.0, [1000, 2000, 3000, 3000]),
        (0.5, 0.5, [1250, 2500, 3750, 3750]),
        (1.0, 0.999, [1999, 3998, 5997, 5997]),
    ],
)
def test_jitter_comes_on_top_of_the_delay_that_is_waited(jitter: float, roll: float, delays: list[int]) -> None:
    policy = task(1000, backoff="exponential", most=3000, jitter=jitter)
    assert [delay_ms(attempt, policy, lambda: roll) for attempt in (1, 2, 3, 4)] == delays


@given(policies, st.integers(1, 101), st.floats(0, 1, exclude_max=True))
def test_jitter_is_at_most_its_share(policy: Task, attempt: int, roll: float) -> None:
    plain = delay_ms(attempt, policy, lambda: 0.0)
    assert plain <= delay_ms(attempt, policy, lambda: roll) <= plain + plain * policy.retry_jitter


@given(policies.filter(lambda policy: len(policy.retry_delay_ms) == 1), st.integers(1, 100))
def test_a_single_delay_never_shrinks(policy: Task, attempt: int) -> None:
    assert delay_ms(attempt, policy, lambda: 0.0) <= delay_ms(attempt + 1, policy, lambda: 0.0)


@pytest.mark.parametrize(
    ("reason", "exit_code", "on", "expected"),
    [
        (Reason.FAILED, 1, ("failed",), True),
        (Reason.FAILED, 1, (), False),
        (Reason.FAILED, 1, ("timeout", "crashed"), False),
        (Reason.TIMEOUT, 143, ("timeout",), True),
        (Reason.CRASHED, -2, ("crashed",), True),
        (Reason.LOG_OVERFLOW, 137, ("log_overflow",), True),
        (Reason.FAILED, 75, ("exit:75",), True),
        (Reason.FAILED, 76, ("exit:75",), False),
        (Reason.FAILED, 64, ("exit:64-78",), True),
        (Reason.FAILED, 78, ("exit:64-78",), True),
        (Reason.FAILED, 79, ("exit:64-78",), False),
        (Reason.FAILED, 0, ("exit:0",), True),
        (Reason.TIMEOUT, 75, ("exit:75",), False),
    ],
)
def test_an_ending_is_retried_when_a_rule_names_it(
    reason: Reason, exit_code: int, on: tuple[str, ...], expected: bool
) -> None:
    assert is_retried(reason, exit_code, task(on=on)) is expected


@given(st.sampled_from([Reason.SUCCESS, Reason.STOPPED, Reason.SKIPPED]), st.integers(-2, 255))
def test_a_desired_end_is_never_retried(reason: Reason, exit_code: int) -> None:
    every = (*(str(item) for item in Reason), "exit:0-255")
    assert not is_retried(reason, exit_code, task(on=every))
