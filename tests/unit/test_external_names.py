"""Names of other systems as task names."""

from hypothesis import given
from hypothesis import strategies as st

from shared.external_names import task_name
from shared.tasks import is_task_name


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_any_name_becomes_a_task_name(parts: list[str]) -> None:
    assert is_task_name(task_name("prefect", *parts))


def test_a_name_can_be_recognised_and_is_unique() -> None:
    name = task_name("marquez", "s3://bucket", "load/orders daily")
    assert name.startswith("marquez.load-orders-daily.")
    assert name == task_name("marquez", "s3://bucket", "load/orders daily")
    assert name != task_name("marquez", "s3://bucket", "load-orders-daily")
    assert task_name("x", "a", "b") != task_name("x", "ab")
