"""Seeded faults of how executions are held back, let go on and counted; see ``mutation.py``."""

from functools import partial

from tests.store import test_executions, test_give_back, test_orchestrated, test_overlap, test_stop_in_steps
from tests.store.mutation import Mutant

MUTANTS_OF_EXECUTIONS = [
    Mutant(
        "an execution is stopped in one step",
        "lib/stopping",
        "local MOST_STOPPED = 100",
        "local MOST_STOPPED = 100000",
        partial(
            test_stop_in_steps.test_what_one_step_left_the_leader_stops, begin=test_stop_in_steps.by_a_person_who_died
        ),
    ),
    Mutant(
        "the leader does not hear of what a dead process left to stop",
        "scheduler_poll",
        "P .. ':stopping', '-inf', text(NOW - 1000000)",
        "P .. ':stopping', '-inf', 0",
        partial(
            test_stop_in_steps.test_what_one_step_left_the_leader_stops, begin=test_stop_in_steps.by_a_person_who_died
        ),
    ),
    Mutant(
        "a stop that is under way takes a kill back",
        "lib/stopping",
        "  if redis.call('HGET', at, 'stop_request') == 'kill' then request = 'kill' end\n",
        "",
        test_stop_in_steps.test_a_stop_request_does_not_soften_a_kill_that_is_under_way,
    ),
    Mutant(
        "retries that are made while an execution is stopped go on",
        "lib/stopping",
        "if from == 0 and did == 0 then",
        "if from == 0 then",
        test_stop_in_steps.test_a_retry_that_is_made_between_two_steps_is_stopped_too,
    ),
    Mutant("a run that is given back is still leased", "give_back", "  redis.call('ZREM', P .. ':leases', id)\n", ""),
    Mutant(
        "a run that is given back waits behind the others",
        "give_back",
        "enqueue(id, r, true)",
        "enqueue(id, r)",
        test_give_back.test_what_was_given_back_is_claimed_next_and_by_another_token,
    ),
    Mutant(
        "whoever had a run once gives it back",
        "give_back",
        " or r[F.token] ~= token then",
        " then",
        test_give_back.test_a_repeated_one_changes_nothing,
    ),
    Mutant(
        "a crash of the machinery is not counted",
        "give_back",
        " + crashes",
        "",
        test_give_back.test_a_repeated_one_changes_nothing,
    ),
    Mutant(
        "a run that is given back counts as begun",
        "give_back",
        "= S.pending, 0, '', 0",
        "= S.pending, r[F.start_us], '', 0",
    ),
    Mutant(
        "a wish to stop is forgotten when the run is given back",
        "give_back",
        "if r[F.stop_request] ~= '' then",
        "if false then",
        test_give_back.test_one_that_had_been_asked_to_stop_has_ended_and_lets_its_execution_end,
    ),
    Mutant(
        "a delayed trigger that is refused has exit code 0",
        "enqueue_due",
        "R.skipped, -1, verdict",
        "R.skipped, 0, verdict",
        test_overlap.test_a_delayed_trigger_that_is_refused_ran_nothing,
    ),
    Mutant(
        "skip names the newest that runs",
        "lib/overlap",
        "':holders', 0, 0)[1]",
        "':holders', -1, -1)[1]",
        test_overlap.test_skip_names_the_oldest_of_several_that_run,
    ),
    Mutant(
        "skip refuses at a full shared limit",
        "lib/overlap",
        "if gate[1] == 'task:' .. task then own",
        "if true then own",
        test_overlap.test_skip_waits_when_only_a_shared_limit_is_full,
    ),
    Mutant(
        "max_queued bounds those that kill lets wait",
        "lib/overlap",
        "policy == 'queue' and own[4]",
        "own[4]",
        test_overlap.test_kill_knows_no_bound_of_those_that_wait,
    ),
    Mutant(
        "the version of an execution stands still at a wish to stop a run",
        "lib/stopping",
        "    count_change(id, r)\n",
        "",
        test_executions.test_the_version_grows_with_a_stop_request_for_one_run,
    ),
    Mutant(
        "the version of an execution stands still at a wish to stop it",
        "lib/stopping",
        "    redis.call('HINCRBY', plan, 'version', 1)\n",
        "",
        test_executions.test_the_version_grows_with_a_stop_of_the_whole_after_one_of_its_run,
    ),
    Mutant(
        "the version of an execution does not count a new group",
        "lib/groups",
        "  redis.call('HINCRBY', at, 'version', 1)\n  if why then\n",
        "  if why then\n",
        test_executions.test_the_version_counts_the_end_of_a_group_and_the_group_that_begins,
    ),
    Mutant(
        "a lease of slots overtakes executions that wait",
        "lib/slots",
        " and redis.call('EXISTS', P .. ':limit:' .. gate[1] .. ':waiters') == 0",
        "",
        test_orchestrated.test_a_lease_of_slots_overtakes_no_execution_that_waits,
    ),
    Mutant(
        "a lease of several slots frees one",
        "lib/slots",
        "for i = 1, tonumber(slots) do redis.call('ZREM'",
        "for i = 1, 1 do redis.call('ZREM'",
        test_orchestrated.test_a_lease_of_several_slots_frees_them_all,
    ),
]
