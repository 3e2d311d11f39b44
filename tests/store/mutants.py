"""
Seeded faults: small textual changes of the scripts, each of which some test must notice.

A test is only as good as the faults it kills. ``planted`` puts one fault in place for as long as its ``with`` lasts.
The text it replaces must be there exactly once, so that no fault plants nothing after a script was changed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shared.store import scripts
from tests.store import (
    test_authored,
    test_claim,
    test_create,
    test_end,
    test_kept_for_plans,
    test_lineage,
    test_logs,
    test_moves,
    test_overlap,
    test_plans,
    test_report,
    test_rescue,
    test_restore,
    test_retention,
    test_retries,
    test_schedules_in_store,
    test_stop,
)


class Mutant(NamedTuple):
    """``old`` is replaced by ``new`` in ``lua/<file>.lua``; ``killer`` notices it, or (None) the state machine does."""

    name: str
    file: str
    old: str
    new: str
    killer: Callable[..., Any] | None = None


def _move(state: str, what: str) -> Callable[..., Any]:
    return partial(test_moves.test_a_move_is_made_where_it_is_allowed_and_nowhere_else, state=state, what=what)


MUTANTS = [
    Mutant(
        "end ignores the token",
        "end",
        "or r[F.token] ~= token then",
        "or false then",
        _move("running, somebody else's", "end as success"),
    ),
    Mutant("end ignores the status", "end", "r[F.status] ~= source or", "false or"),
    Mutant(
        "end tries again although a stop was wished",
        "end",
        "and not wished then",
        "then",
        test_retries.test_a_wish_to_stop_forbids_the_retry_not_the_reason,
    ),
    Mutant(
        "end calls a repeat refused",
        "end",
        "same and 'again' or 'refused'",
        "'refused'",
        test_end.test_a_repeated_end_is_again_and_claims_once,
    ),
    Mutant("end leaves its execution live", "end", "  leave(id, r)\n", ""),
    Mutant(
        "claim takes what is not pending",
        "lib/claim",
        "r[F.status] == 'pending' then",
        "true then",
        test_claim.test_what_stands_in_a_queue_but_does_not_wait_is_passed_over,
    ),
    Mutant("claim ignores the turn", "lib/claim", "string.sub(before, 17) ~= wanted[3]", "true"),
    Mutant("a refused end claims", "end", "verdict ~= 'refused' and claim(wanted)", "claim(wanted)"),
    Mutant(
        "claim ignores a paused queue",
        "lib/claim",
        "'SISMEMBER', P .. ':queues:paused', queue) == 0",
        "'EXISTS', P) == 0",
    ),
    Mutant("claim gives no new token", "lib/claim", "redis.call('INCR', P .. ':counter')", "1"),
    Mutant("claim gives no lease", "lib/claim", "    redis.call('ZADD', P .. ':leases', NOW + wanted[4], id)\n", ""),
    Mutant("beat does not extend the lease", "beat", "NOW + lease, ARGV[i]", "NOW, ARGV[i]"),
    Mutant(
        "beat ignores the token",
        "beat",
        " and r[F.token] == tonumber(ARGV[i + 1])",
        "",
        _move("running, somebody else's", "beat"),
    ),
    Mutant(
        "beat brings no wishes back",
        "beat",
        "answer[#answer + 1] = r[F.wish]",
        "answer[#answer + 1] = ''",
        test_stop.test_a_running_run_is_asked_and_its_worker_woken,
    ),
    Mutant("an ended run stays in its queue", "lib/ending", "redis.call('ZREM', P .. ':queue:' .. r[F.queue], id)", ""),
    Mutant("an ended run stays in due", "lib/ending", "redis.call('ZREM', P .. ':due', id)", ""),
    Mutant("an ended run keeps its lease", "lib/ending", "redis.call('ZREM', P .. ':leases', id)", ""),
    Mutant("a log is never to be compacted", "lib/ending", "if r[F.log_lines] > 0 then", "if false then"),
    Mutant("a retry does not count as live", "lib/ending", "'live', 1)", "'live', 0)"),
    Mutant("a retry does not count for its definition", "lib/ending", "'refs', 1)", "'refs', 0)"),
    Mutant(
        "a retry is not listed with its execution",
        "lib/ending",
        "redis.call('RPUSH', P .. ':exec-runs:' .. x, next_id)",
        "",
    ),
    Mutant(
        "a retry is offered twice",
        "lib/ending",
        "if redis.call('EXISTS', P .. ':run:' .. next_id) == 1 then return end",
        "",
        test_retries.test_a_retry_takes_the_place_of_nobody,
    ),
    Mutant(
        "an execution leaves its gates closed",
        "lib/execution",
        "for _, gate in ipairs(gates) do admit(gate[1]) end",
        "",
    ),
    Mutant(
        "an execution stays at its gates",
        "lib/execution",
        "redis.call('ZREM', P .. ':gate:' .. gate[1] .. ':live', x)",
        "",
    ),
    Mutant(
        "who waits is let through too early",
        "lib/execution",
        ">= gate_max(gate) then return end",
        "> gate_max(gate) then return end",
    ),
    Mutant(
        "who waits overtakes",
        "lib/execution",
        "~= x then return end",
        "== '' then return end",
        test_overlap.test_who_is_first_at_one_gate_waits_for_who_is_first_at_the_other,
    ),
    Mutant(
        "only one gate is looked at",
        "lib/execution",
        "if gate[1] ~= gate_name then admit(gate[1]) end",
        "",
        test_overlap.test_who_waited_behind_another_moves_up_when_that_one_starts,
    ),
    Mutant("priorities are upside down", "lib/execution", "(9 - r[F.priority])", "r[F.priority]"),
    Mutant(
        "a trigger overtakes those who wait",
        "lib/overlap",
        "or waiting > 0 then",
        "then",
        test_overlap.test_a_later_trigger_does_not_overtake_when_there_is_room_for_a_moment,
    ),
    Mutant("the gate takes one too many", "lib/overlap", "live >= gate_max(gate) or", "live > gate_max(gate) or"),
    Mutant(
        "a queue takes one too many",
        "lib/overlap",
        "own[4] >= max_queued",
        "own[4] > max_queued",
        test_overlap.test_a_full_queue_refuses_and_says_so,
    ),
    Mutant(
        "kill stops one too many",
        "lib/overlap",
        "#live + #waiting - gate_max(gate)",
        "#live + #waiting - gate_max(gate) + 1",
    ),
    Mutant(
        "kill stops the newest",
        "lib/overlap",
        "for i = 1, math.min(excess, #live) do",
        "for i = #live, #live - math.min(excess, #live) + 1, -1 do",
    ),
    Mutant(
        "one order of an index is left",
        "lib/records",
        "{':created', ':start', ':duration', ':exit'}",
        "{':created', ':start', ':duration'}",
    ),
    Mutant(
        "an index misses those that start", "lib/records", "redis.call('ZADD', task .. ':start', r[F.start_us], id)", ""
    ),
    Mutant(
        "a kill is taken back",
        "lib/stopping",
        "r[F.wish] ~= 'kill' and r[F.wish] ~= wish",
        "r[F.wish] ~= wish",
        test_stop.test_a_running_run_is_asked_and_its_worker_woken,
    ),
    Mutant("a stopped run's execution lives on", "lib/stopping", "    leave(id, r)\n", ""),
    Mutant(
        "the hold is ignored by rescue",
        "rescue",
        "(tonumber(redis.call('GET', P .. ':hold')) or 0) > NOW",
        "false",
        test_rescue.test_after_a_gap_nothing_is_rescued_for_one_lease,
    ),
    Mutant("the lease is ignored by rescue", "rescue", "or not lease or lease > NOW then", "then"),
    Mutant(
        "rescue tries again although a stop was wished",
        "rescue",
        "local asked = r[F.wish] ~= ''",
        "local asked = false",
        test_rescue.test_a_run_that_was_asked_to_stop_is_stopped_not_crashed,
    ),
    Mutant("rescue forgets the retry", "rescue", "if ARGV[5] ~= '' then retry(id, r, ARGV[5]) end", ""),
    Mutant("the hold is ignored by pulse", "pulse", "or 0) <= NOW then", "or 0) <= NOW + 1e12 then"),
    Mutant("no gap is ever noted", "lib/contact", "NOW - last > gap_us", "false"),
    Mutant("a tick fires twice", "create", ">= o.tick_us then", "> o.tick_us + 6e12 then"),
    Mutant("a tick does not move the cursor", "create", "redis.call('HSET', P .. ':ticks', task, text(o.tick_us))", ""),
    Mutant(
        "a paused schedule fires",
        "create",
        "if redis.call('SISMEMBER', P .. ':paused', task) == 1 then",
        "if false then",
        test_schedules_in_store.test_a_paused_schedule_lets_its_ticks_pass,
    ),
    Mutant(
        "the digest of a key is ignored",
        "create",
        "if before[2] ~= o.digest then",
        "if false then",
        test_create.test_a_key_used_for_another_body_is_refused,
    ),
    Mutant(
        "a key is not kept", "create", "redis.call('HSET', P .. ':idem:' .. o.idem, 'run', x, 'digest', o.digest)", ""
    ),
    Mutant("a repeated create makes it again", "create", "if existing then", "if false then"),
    Mutant("replicas share a number", "lib/plan", "last - n + 1 + i", "last"),
    Mutant("a run is not counted for its definition", "lib/plan", "'refs', n)", "'refs', 1)"),
    Mutant(
        "a group begins before the one before it has ended",
        "lib/ending",
        "'live', -1) <= 0 and not",
        "'live', -1) <= 1 and not",
        test_plans.test_a_step_that_fails_lets_its_group_finish_and_nothing_begin,
    ),
    Mutant(
        "a failed step holds nobody up",
        "lib/plan",
        "local why = p[3] and 'skipped: ' .. p[4] or p[5]",
        "local why = p[5]",
        test_plans.test_a_step_that_fails_lets_its_group_finish_and_nothing_begin,
    ),
    Mutant(
        "a stop is forgotten at the end of a group",
        "lib/plan",
        "or p[5] and 'skipped: the execution was stopped'",
        "",
        test_plans.test_stopping_an_execution_ends_it_also_when_what_runs_ends_well,
    ),
    Mutant(
        "a retried step has failed",
        "lib/ending",
        "and not owed[id] then settle",
        "then settle",
        test_plans.test_a_retry_that_succeeds_saves_the_plan,
    ),
    Mutant(
        "outputs are not handed on",
        "lib/plan",
        "redis.call('HEXISTS', at, 'needed:' .. i) == 1",
        "false",
        test_plans.test_the_outputs_of_a_step_are_handed_on_to_those_that_need_it,
    ),
    Mutant(
        "a retry does without what its lost plan handed on",
        "lib/ending",
        "  if (r[F.needs] or 0) > 0 and redis.call('EXISTS', P .. ':plan:' .. x) == 0 then return end\n",
        "",
        test_restore.test_a_step_whose_inputs_are_lost_is_not_tried_again,
    ),
    Mutant(
        "a milder reason takes a worse one's place",
        "lib/plan",
        "if before and (MILD[before] or 3) >= (MILD[reason] or 3) then return false end",
        "",
        test_kept_for_plans.test_how_a_step_ended_is_known_when_its_runs_are_forgotten,
    ),
    Mutant(
        "what was lent can be deleted",
        "lib/plan",
        "  redis.call('HSET', at, 'lent', lent)\n",
        "",
        test_kept_for_plans.test_what_another_execution_goes_on_from_is_not_forgotten,
    ),
    Mutant(
        "a later loan forgets an earlier one",
        "lib/plan",
        "then lent = lent .. other end",
        "then lent = x end",
        test_kept_for_plans.test_what_another_execution_goes_on_from_is_not_forgotten,
    ),
    Mutant(
        "what is needed can be deleted",
        "forget",
        "  if is_needed(ARGV[6], r) then return -2 end\n",
        "",
        test_kept_for_plans.test_what_is_still_to_be_handed_on_cannot_be_deleted,
    ),
    Mutant(
        "a plan stays when its runs are gone",
        "forget",
        "  drop_plan(x)\n",
        "",
        test_kept_for_plans.test_a_plan_goes_with_the_last_of_its_runs,
    ),
    Mutant(
        "only the newest runs of an execution are stopped",
        "stop_all",
        "local answer = {stopped, left}",
        "local answer = {stopped, 0}",
        partial(test_stop.test_a_large_execution_is_stopped_in_small_steps, by="execution"),
    ),
    Mutant("forget leaves an index entry", "forget", "  unindex(id, r)\n", ""),
    Mutant(
        "forget leaves the log",
        "forget",
        ", P .. ':log:' .. id, P .. ':logz:' .. id",
        "",
        test_retention.test_everything_of_a_run_goes_with_it,
    ),
    Mutant("forget leaves the definition's count", "forget", "'refs', -1) <= 0", "'refs', 0) <= 0"),
    Mutant("forget takes the newest", "forget", "return a[1] < b[1]", "return a[1] > b[1]"),
    Mutant("forget takes live runs", "forget", "if r[F.status] ~= 'ended' then return -1 end", ""),
    Mutant(
        "forget keeps one too few",
        "forget",
        "total - before - i < tonumber(ARGV[3])",
        "total - before - i < tonumber(ARGV[3]) - 1",
    ),
    Mutant("a chunk is stored twice", "append", "local there = r[F.log_lines]", "local there = 0"),
    Mutant(
        "append ignores the token",
        "append",
        "or r[F.token] ~= tonumber(ARGV[3]) then",
        "then",
        test_logs.test_a_stranger_adds_nothing,
    ),
    Mutant("release starts what is not due", "release", "'-inf', text(NOW),", "'-inf', '+inf',"),
    Mutant(
        "release asks no overlap rule",
        "release",
        "local verdict = decide(e[4], gates, e[2], tonumber(e[3]))",
        "local verdict = nil",
    ),
    Mutant(
        "release queues replicas twice",
        "release",
        "for _, each in ipairs(runs_of(x)) do redis.call('ZREM', P .. ':due', each) end",
        "",
        test_create.test_delayed_replicas_are_released_together_however_small_the_batch,
    ),
    Mutant(
        "what was told last counts, whatever its time",
        "lib/newest",
        "if told > at_us or",
        "if false or",
        test_lineage.test_what_is_told_of_a_job_is_the_same_in_any_order,
    ),
    Mutant(
        "of what was told at one time the last counts",
        "lib/newest",
        " or (told == at_us and string.sub(before, 17) >= value)",
        "",
        test_lineage.test_what_is_told_of_a_job_is_the_same_in_any_order,
    ),
    Mutant(
        "an event is kept again when it comes again",
        "keep_event",
        "if is_new == 1 then",
        "if true then",
        test_lineage.test_an_event_is_kept_once,
    ),
    Mutant(
        "a job leaves its namespace's list",
        "lib/jobs",
        "  redis.call('ZREM', P .. ':jobs:' .. namespace, task)\n",
        "",
        test_lineage.test_a_job_that_is_dropped_leaves_nothing,
    ),
    Mutant(
        "an end that a worker told is told again",
        "untold",
        " and r[F.worker] == ''",
        "",
        test_lineage.test_only_ends_that_no_worker_made_are_to_be_told_and_each_once,
    ),
    Mutant(
        "a late start counts only if there was none",
        "report",
        "or (o.backdated and at < r[F.start_us])",
        "",
        test_report.test_what_was_heard_of_late_is_believed,
    ),
    Mutant(
        "a task is defined on what has moved",
        "define",
        "if (entry and entry[1] or '') ~= hash then return 'moved' end",
        "",
        test_authored.test_a_task_is_defined_on_what_was_seen_only,
    ),
    Mutant(
        "a task is deleted that another has come to need",
        "undefine",
        "if (redis.call('GET', P .. ':authored') or '0') ~= ARGV[3] then return {'moved'} end",
        "",
        test_authored.test_a_task_is_not_deleted_when_one_that_may_need_it_came_in_between,
    ),
    Mutant(
        "a task is deleted while its plan goes on",
        "undefine",
        "redis.call('SCARD', P .. ':plans:' .. name), 0",
        "0, 0",
        test_authored.test_a_task_whose_plan_goes_on_is_live,
    ),
    Mutant(
        "a reference is given twice",
        "furnish",
        "if item[3] == '' and redis.call('HEXISTS'",
        "if false and redis.call('HEXISTS'",
        test_authored.test_tasks_are_furnished_all_or_none,
    ),
    Mutant(
        "a repeated write is refused",
        "furnish",
        "if made == #items then return 'done' end",
        "",
        test_authored.test_a_write_whose_answer_was_lost_may_be_repeated,
    ),
    Mutant(
        "a deleted task stays in its environment",
        "lib/catalog",
        "  unlist_task(name)\n",
        "",
        test_authored.test_what_goes_from_the_catalog_goes_from_its_environment,
    ),
    Mutant(
        "a task that the file takes over stays in its environment",
        "lib/catalog",
        "if source == 'file' then unlist_task(name) end",
        "",
        test_authored.test_what_goes_from_the_catalog_goes_from_its_environment,
    ),
    Mutant(
        "a paused schedule owes the past", "pause", "redis.call('HSET', P .. ':ticks', task, text(NOW))", "return 1"
    ),
]


@contextmanager
def planted(mutant: Mutant, folder: Path) -> Iterator[None]:
    """The scripts with this fault in them; *folder* is empty and may be written to."""
    copy = folder / "lua"
    shutil.copytree(scripts.FOLDER, copy)
    path = copy / f"{mutant.file}.lua"
    text = path.read_text("utf-8")
    assert text.count(mutant.old) == 1, f"{mutant.name}: the text to replace is there {text.count(mutant.old)} times"
    path.write_text(text.replace(mutant.old, mutant.new), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scripts, "FOLDER", copy)
        _forget_loaded()
        try:
            yield
        finally:
            _forget_loaded()


def _forget_loaded() -> None:
    scripts.script.cache_clear()
    scripts._library.cache_clear()
