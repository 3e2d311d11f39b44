"""The arithmetic of the measurements, and that their filled store is one the product could have made."""

import random
from collections import Counter

from bench.figures import Figure, number, percentile, table
from bench.filling import records
from shared.runs import Reason


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    random.Random(1).shuffle(values)
    assert [percentile(values, rank) for rank in (0, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7.0], 99) == 7.0
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0


def test_a_figure_knows_which_side_of_its_goal_it_is_on() -> None:
    def reached(value: float, *, more: bool) -> str:
        goal, stretch = (10, 20) if more else (20, 10)
        figure = Figure(part="p", name="n", value=value, unit="ms", goal=goal, stretch=stretch, more_is_better=more)
        return figure.verdict

    assert [reached(value, more=False) for value in (5, 15, 25)] == ["stretch", "goal", "missed"]
    assert [reached(value, more=True) for value in (25, 15, 5)] == ["stretch", "goal", "missed"]
    assert Figure(part="p", name="n", value=1, unit="s").verdict == ""


def test_the_columns_of_the_table_stand_under_one_another() -> None:
    lines = table(
        [
            Figure(part="lists", name="worst", value=10.84, unit="ms", goal=50, stretch=10),
            Figure(part="throughput", name="a", value=1234.5, unit="runs/s", note="beside something"),
        ]
    ).splitlines()
    assert len(lines) == 4
    assert len({tuple(at for at, sign in enumerate(line) if sign == "|") for line in lines}) == 1
    assert "10.8" in lines[2]
    assert "1234" in lines[3]
    assert [number(value) for value in (None, 3, 0.456, 12.34, 99999.9)] == ["", "3", "0.46", "12.3", "100000"]


def test_filled_runs_are_of_every_kind_and_in_order() -> None:
    made = list(records(["a", "b"], {"a": "1", "b": "2"}, 4000, random.Random(3)))
    assert len(made) == 4000
    states = Counter(record.status for record in made)
    assert states == {"ended": 3600, "pending": 200, "running": 200}
    assert {record.reason for record in made if record.status == "ended"} == set(Reason)
    assert [record.created_us for record in made] == sorted(record.created_us for record in made)
    for name in ("a", "b"):
        numbers = [record.number for record in made if record.task == name]
        assert numbers == list(range(1, len(numbers) + 1))
    skipped = [record for record in made if record.reason == Reason.SKIPPED]
    assert all(record.exit_code == -1 and not record.start_us and not record.worker for record in skipped)
