"""Seeded faults of how large texts are kept once for an execution; see ``mutation.py``."""

from functools import partial

from tests.store import test_texts
from tests.store.mutation import Mutant

MUTANTS_OF_TEXTS = [
    Mutant("large texts outlive their runs", "lib/run_removal", "    redis.call('DEL', P .. ':texts:' .. x)\n", ""),
    Mutant(
        "large texts go with the first run of an execution",
        "lib/run_removal",
        "  redis.call('LREM', P .. ':exec-runs:' .. x, 1, id)\n",
        "  redis.call('LREM', P .. ':exec-runs:' .. x, 1, id)\n  redis.call('DEL', P .. ':texts:' .. x)\n",
        test_texts.test_they_stay_until_the_last_run_is_forgotten_and_nothing_stays_then,
    ),
    Mutant(
        "a worker gets references instead of texts",
        "lib/claim",
        "return whole(cmsgpack.pack(r))",
        "return cmsgpack.pack(r)",
    ),
    Mutant(
        "a worker that asks again gets references instead of texts",
        "lib/claim",
        "whole(redis.call('GET', P .. ':run:' .. id))",
        "redis.call('GET', P .. ':run:' .. id)",
        test_texts.test_a_slot_that_asks_again_gets_all_of_its_run_again,
    ),
    Mutant(
        "only the first large text of a record is put back",
        "lib/texts",
        "ipairs({F.params, F.tags, F.labels})",
        "ipairs({F.params})",
        test_texts.test_every_reader_of_a_run_gets_all_of_it,
    ),
    Mutant(
        "a message that looks like a reference is taken for one",
        "lib/texts",
        "ipairs({F.params, F.tags, F.labels})",
        "ipairs({F.params, F.tags, F.labels, F.message})",
        partial(test_texts.test_a_text_that_looks_like_a_reference_is_shown_as_it_was_sent, looks="of another's"),
    ),
    Mutant("what is written back has large texts itself", "restore", "share_texts(x, r)\n", ""),
    Mutant(
        "all large texts of a run are the same",
        "lib/shared_texts",
        "r[field] = references[value] or value",
        "r[field] = references[next(references)] or value",
        test_texts.test_attempts_and_steps_with_the_same_share_them,
    ),
]
