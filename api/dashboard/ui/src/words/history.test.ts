import assert from "node:assert/strict";
import { test } from "node:test";
import type { Run } from "../api/types.ts";
import { around, factsOf, usualOf } from "./history.ts";

const run = (number: number, more: Partial<Run> = {}): Run => ({
  id: String(number), task_name: "report", status: "ended", end_reason: "success", exit_code: 0, triggered_by: "cron",
  created_at: "2026-11-26T09:14:04Z", replica_index: 0, retry_attempt: 0, execution_id: String(number), replica_count: 1, number, queue: "default",
  priority: 0, log_bytes: 0, log_lines: 0, definition: "a", worker: "w1", duration_ms: 1000 * number, ...more,
});
const newestFirst = (count: number) => Array.from({ length: count }, (_, at) => run(count - at));

test("usual is the middle of the successes, and needs five of them", () => {
  assert.equal(usualOf(newestFirst(4)), undefined);
  assert.deepEqual(usualOf(newestFirst(5)), { p50: 3000, p95: 5000 });
});

test("a bad end is told by what is different", () => {
  const failed = run(42, { end_reason: "failed", definition: "b", worker: "w3", duration_ms: 63_000 });
  assert.deepEqual(factsOf(failed, [failed, ...newestFirst(41)]).map((fact) => fact.text), [
    "first failure after 41 successes", "definition changed just before", "other worker than the last success (w1)",
    "3.0 × longer than usual (21 s)",
  ]);
  const again = [7, 6, 5].map((number) => run(number, { end_reason: "failed" }));
  assert.equal(factsOf(again[0] ?? run(0), [...again, ...newestFirst(4)])[0]?.text, "failed 3 times in a row");
  assert.deepEqual(factsOf(run(3), newestFirst(3)), []);
});

test("a run is shown in the middle of those around it", () => {
  const runs = newestFirst(60);
  assert.deepEqual(around(run(30), runs, 10).map((one) => one.number), [25, 26, 27, 28, 29, 30, 31, 32, 33, 34]);
  assert.equal(around(run(60), runs, 10).at(-1)?.number, 60);
  assert.equal(around(run(1), runs, 10).length, 10);
  assert.deepEqual(around(run(99), runs, 10), []);
});
