import assert from "node:assert/strict";
import { test } from "node:test";
import type { Run } from "../api/types.ts";
import { STATES, stateOf, WORDS, wordsOf, worst } from "./states.ts";

const NOW = Date.parse("2026-11-26T09:14:07Z");
const run = (fields: Partial<Run>): Run => ({
  id: "0198", task_name: "report", status: "pending", exit_code: 0, triggered_by: "cron", created_at: "2026-11-26T09:14:04Z",
  replica_index: 0, retry_attempt: 0, execution_id: "0198", replica_count: 1, number: 1412, queue: "default", priority: 0,
  log_bytes: 0, log_lines: 0, definition: "", ...fields,
});
const told = (fields: Partial<Run>, unserved?: Set<string>) => {
  const state = stateOf(run(fields), NOW, unserved);
  return [state, wordsOf(run(fields), state, NOW)];
};

test("a waiting run is told by what it waits for", () => {
  assert.deepEqual(told({}), ["queued", "waiting 3 s"]);
  assert.deepEqual(told({ queue: "gpu" }, new Set(["gpu"])), ["no_worker", "no worker"]);
  assert.equal(told({ due_at: "2026-11-26T09:44:04Z" })[0], "due");
  assert.deepEqual(told({ due_at: "2026-11-26T09:14:06Z" }), ["queued", "waiting 1 s"]);
});

test("a live run is told with its time, until it is asked to stop", () => {
  const live = { status: "running", start_at: "2026-11-26T09:13:05Z" } as const;
  assert.deepEqual(told(live), ["running", "running 1:02"]);
  assert.deepEqual(told({ ...live, stop_requested: true }), ["stopping", "stopping"]);
});

test("an ended run is told by its end reason", () => {
  assert.deepEqual(told({ status: "ended", end_reason: "success", duration_ms: 151_000 }), ["success", "done 2:31"]);
  assert.deepEqual(told({ status: "ended", end_reason: "failed", exit_code: 1 }), ["failed", "failed 1"]);
  assert.deepEqual(told({ status: "ended", end_reason: "failed", exit_code: -2 }), ["failed", "failed"]);
  assert.deepEqual(told({ status: "ended", end_reason: "timeout", exit_code: 143 }), ["timeout", "timed out"]);
});

test("of many the worst is shown", () => {
  assert.equal(worst(["success", "failed", "running"]), "failed");
  assert.equal(worst(["failed", "crashed"]), "crashed");
  assert.equal(worst(["success", "skipped"]), "success");
  assert.equal(worst([]), undefined);
});

test("every state has a look and a word", () => {
  assert.deepEqual(Object.keys(STATES), Object.keys(WORDS));
  assert.equal(Object.keys(STATES).length, 13);
});
