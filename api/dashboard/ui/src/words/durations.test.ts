import assert from "node:assert/strict";
import { test } from "node:test";
import { ago, bytes, count, duration, elapsed, many, until } from "./durations.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

test("a duration has the unit that fits it", () => {
  const cases: [number, string][] = [
    [-5, "0 s"], [4, "0 s"], [5, "0.01 s"], [18, "0.02 s"], [99, "0.10 s"], [100, "0.1 s"], [1999, "1.9 s"], [9999, "9.9 s"],
    [10_000, "10 s"], [59_999, "59 s"], [MINUTE, "1:00"], [151_000, "2:31"], [HOUR - 1, "59:59"], [HOUR, "1:00:00"],
    [3_730_000, "1:02:10"], [24 * HOUR, "1 d"], [51 * HOUR, "2 d 3 h"],
  ];
  for (const [ms, text] of cases) assert.equal(duration(ms), text);
});

test("what goes on is told in whole seconds", () => {
  assert.deepEqual([0, 999, 1000, 62_500].map(elapsed), ["0 s", "0 s", "1 s", "1:02"]);
});

test("the past and the future have one unit", () => {
  assert.deepEqual([0, 19_400, 5 * MINUTE, 3 * HOUR, 72 * HOUR].map(ago), ["now", "19 s ago", "5 min ago", "3 h ago", "3 d ago"]);
  assert.deepEqual([-1, 41_000, 221_000, 5 * HOUR].map(until), ["now", "in 0:41", "in 3:41", "in 5 h"]);
});

test("numbers are grouped and words agree with them", () => {
  assert.equal(count(1234567), "1\u202f234\u202f567");
  assert.deepEqual([many(1, "line"), many(0, "line"), many(2, "try", "tries")], ["1 line", "0 lines", "2 tries"]);
  assert.deepEqual([900, 1500, 84_000_000, 5_949_984].map(bytes), ["900 B", "1.5 kB", "84 MB", "5.9 MB"]);
});
