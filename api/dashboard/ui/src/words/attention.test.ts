import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fleet, Queue, Run, Task } from "../api/types.ts";
import { attentionOf, headline } from "./attention.ts";

const NOW = Date.parse("2026-11-26T09:00:00Z");
const run = (number: number, end_reason: Run["end_reason"], execution_id = String(number)) =>
  ({ number, end_reason, execution_id, status: "ended", end_at: new Date(NOW - (100 - number) * 60_000).toISOString(), message: "exited with code 1" }) as Run;
const fleet = { leader: "vm-1", standbys: [], oldest_waiting_ms: 0, counts: {} } as unknown as Fleet;
const task = (name: string, last_run?: Run) => ({ name, last_run }) as Task;
const queue = (name: string, more: Partial<Queue>) => ({ name, paused: false, depth: 0, latency_ms: 0, running: 0, slots: 8, workers: 1, ...more }) as Queue;
const seen = { tasks: [] as Task[], queues: [] as Queue[], fleet, histories: new Map<string, Run[]>(), now: NOW };

test("a fleet without trouble needs nobody", () => {
  const tasks = [task("clock", run(1, "success")), task("new")];
  assert.deepEqual(attentionOf({ ...seen, tasks, queues: [queue("default", { depth: 4 })] }), []);
});

test("a queue that nobody serves comes with its cure", () => {
  const [item] = attentionOf({ ...seen, queues: [queue("gpu", { depth: 2, workers: 0, latency_ms: 480_000 })] });
  assert.equal(`${item?.text} ${item?.rest}`, "No worker serves queue gpu: 2 runs wait, the oldest 8 min.");
  assert.equal(item?.cure, "RUNFLEET_QUEUES=gpu runfleet worker");
});

test("a failing task is told by how often, each execution once", () => {
  const history = [run(9, "failed", "c"), run(8, "failed", "c"), run(7, "failed", "b"), run(6, "success", "a")];
  const [item] = attentionOf({ ...seen, tasks: [task("report", history[0])], histories: new Map([["report", history]]) });
  assert.equal(item?.text, "report failed 2 times in a row");
  assert.match(item?.rest ?? "", /^ since .*; last success .*\.$/);
  const [once] = attentionOf({ ...seen, tasks: [task("report", run(5, "timeout"))] });
  assert.equal(once?.text, "report timed out");
  const [full] = attentionOf({ ...seen, tasks: [task("report", run(5, "log_overflow"))] });
  assert.equal(full?.text, "report filled its log");
});

test("without a leader nothing fires, and that is said first", () => {
  const [item] = attentionOf({ ...seen, fleet: { ...fleet, leader: undefined } });
  assert.equal(item?.text, "No scheduler leads.");
});

test("one sentence says it all", () => {
  assert.equal(headline(2, 3, { task: "clock", inWords: "in 0:41" }), "2 things need you. 3 run now. Next: clock in 0:41.");
  assert.equal(headline(1, 1, undefined), "1 thing needs you. 1 runs now.");
  assert.equal(headline(0, 0, undefined), "Nothing needs you. Nothing runs.");
});
