import assert from "node:assert/strict";
import { test } from "node:test";
import { chips, FILTERS, fromQuery, fromText, isPreset, PRESETS, toCall } from "./filters.ts";

test("what is typed becomes filters, and the rest is searched for", () => {
  assert.deepEqual(fromText("failed timeout task:report >5m since:6h retried customer id"), {
    status: "failed,timeout", task_name: "report", min_duration_ms: "300000", since: "6h", retries_only: "true", search: "customer id",
  });
  assert.deepEqual(fromText("task:a task:b"), { task_name: "a,b" });
  assert.deepEqual(fromText(">nothing http://x"), { search: ">nothing http://x" });
});

test("a span counts back from now", () => {
  const now = Date.parse("2026-11-26T09:00:00Z");
  assert.deepEqual(toCall({ since: "6h", queue: "gpu" }, now), { queue: "gpu", created_after: "2026-11-26T03:00:00.000Z" });
  assert.deepEqual(toCall({ since: "soon" }, now), {});
});

test("an address is read for the filters that there are", () => {
  assert.deepEqual(fromQuery(new URLSearchParams("status=failed&find=x&tag=")), { status: "failed" });
  for (const { filters } of PRESETS) assert.ok(Object.keys(filters).every((name) => (FILTERS as readonly string[]).includes(name)));
});

test("a filter is shown in words, and a preset is known by its filters", () => {
  const shown = chips({ status: "success,failed", min_duration_ms: "300000", worker: "w1" }).map((chip) => chip.text);
  assert.deepEqual(shown, ["state: done, failed", "longer than 5 min", "worker: w1"]);
  assert.ok(isPreset({ status: "running" }, { status: "running" }));
  assert.ok(!isPreset({ status: "running", tag: "x" }, { status: "running" }));
});
