"""Fills the store that `lists` and `memory` read; a measurement of the scripts and sorted sets as well."""

from collections.abc import Iterator

from bench.context import Bench
from bench.figures import Figure
from shared.store import open_store, tasks


def measure(bench: Bench) -> Iterator[Figure]:
    """How long it took. Raises RuntimeError when the product's own counts are not what was put in."""
    filled = bench.filled()
    store = open_store(filled.valkey.settings())
    try:
        counted = store.run(tasks.counts(filled.names))
    finally:
        store.close()
    for name, counts in counted.items():
        if counts.total != filled.total((name,), "") or counts.pending != filled.total((name,), "pending"):
            raise RuntimeError(f"{name} has {counts.total} runs where {filled.total((name,), '')} were put in")
    note = f"{filled.runs} runs of {len(filled.names)} tasks; totals equal"
    yield Figure(part="fill", name="fill the store", value=filled.seconds, unit="s", note=note)
