import assert from "node:assert/strict";
import { test } from "node:test";
import { blockFrom } from "./blocks.ts";

/** A log of *total* lines in which *loud* ones are on stderr. */
function log(total: number, loud: (n: number) => boolean, first = 0) {
  const read = async (from: number, limit: number) => ({
    lines: Array.from({ length: Math.max(0, Math.min(limit, total - from)) }, (_, at) => from + at).map((n) => ({
      n, at: "", text: "", stream: loud(n) ? ("stderr" as const) : ("stdout" as const),
    })),
    first_available: first, total_lines: total, truncated: false, finalized: true,
  });
  return { first, total, read };
}

test("blocks are found however far away they are", async () => {
  const blocks = new Set([0, 100, 101, 4999, 5000, 5001, 20_000, 20_001]);
  const whole = log(30_000, (n) => blocks.has(n));
  const after = async (n: number) => blockFrom(n, 1, whole);
  const before = async (n: number) => blockFrom(n, -1, whole);
  assert.deepEqual([await after(0), await after(50), await after(100), await after(4999), await after(20_000)], [100, 100, 4999, 20_000, undefined]);
  assert.deepEqual([await before(29_999), await before(20_000), await before(4999), await before(100), await before(0)], [20_000, 4999, 100, 0, undefined]);
});

test("what is no longer kept is not looked at", async () => {
  assert.equal(await blockFrom(900, -1, log(1000, () => false, 800)), undefined);
  assert.equal(await blockFrom(900, -1, log(1000, (n) => n < 850, 800)), 800);
});
