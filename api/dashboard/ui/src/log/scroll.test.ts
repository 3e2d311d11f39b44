import assert from "node:assert/strict";
import { test } from "node:test";
import { ROW, scale } from "./scroll.ts";

test("a short log is scrolled as it is", () => {
  const { height, toLog, toBar } = scale(1000, 600);
  assert.deepEqual([height, toLog(500), toBar(500)], [1000 * ROW, 500, 500]);
});

test("a long one reaches from its first row to its last", () => {
  const rows = 5_000_000;
  const { height, toLog, toBar } = scale(rows, 600);
  assert.equal(height, 16_000_000);
  assert.equal(toLog(0), 0);
  assert.equal(toLog(height - 600), rows * ROW - 600);
  assert.ok(Math.abs(toBar(toLog(1_234_567)) - 1_234_567) < 1e-6);
});
