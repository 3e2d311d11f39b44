import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogLine, LogWindow } from "../api/types.ts";
import { Lines } from "./lines.ts";

const AT = "2026-11-26T09:14:07Z";
const line = (n: number): LogLine => ({ n, at: AT, stream: "stdout", text: `line ${n}` });

/** A log of *total* lines, of which those from *first* on are kept. */
function log(total: number, first = 0) {
  const asked: [number, number][] = [];
  const seen: number[] = [];
  const read = async (from: number, limit: number): Promise<LogWindow> => {
    asked.push([from, limit]);
    const start = Math.max(first, from < 0 ? total + from : from);
    const numbers = Array.from({ length: Math.max(0, Math.min(limit, total - start)) }, (_, at) => start + at);
    return { lines: numbers.map(line), first_available: first, total_lines: total, truncated: first > 0, finalized: false };
  };
  const lines = new Lines(read, { lines: (found) => seen.push(...found.map((one) => one.n)), bounds: () => {}, failed: assert.fail });
  return { asked, seen, lines };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test("a log opens with its tail, and reads what comes into view", async () => {
  const { asked, lines } = log(100_000);
  await lines.open();
  assert.deepEqual(asked, [[-200, 200]]);
  assert.equal(lines.total, 100_000);
  assert.equal(lines.get(99_999)?.text, "line 99999");
  lines.want(99_900, 99_999);
  assert.equal(asked.length, 1);
  lines.want(1200, 1260);
  await settled();
  assert.deepEqual(asked[1], [1000, 500]);
  assert.equal(lines.get(1230)?.text, "line 1230");
});

test("at most two windows are read at once, those in view first", async () => {
  const { asked, lines } = log(100_000);
  await lines.open();
  lines.want(0, 1800);
  assert.equal(asked.length, 3);
  lines.want(50_000, 50_040);
  await settled();
  await settled();
  assert.deepEqual(asked.slice(1).map(([from]) => from), [0, 500, 50_000]);
});

test("windows far from the view are forgotten", async () => {
  const { lines } = log(100_000);
  await lines.open();
  for (let from = 0; from < 60_000; from += 500) {
    lines.want(from, from + 50);
    await settled();
  }
  assert.equal(lines.get(10), undefined);
  assert.equal(lines.get(99_999), undefined);
  assert.ok(lines.get(59_510));
});

test("lines that come later stand after the others, and each is shown once", async () => {
  const { lines, seen } = log(3);
  await lines.open();
  lines.begin("stdout", "line 3 beg");
  lines.append([line(3), line(4)]);
  assert.deepEqual([lines.total, lines.unfinished], [5, []]);
  assert.deepEqual(seen, [0, 1, 2, 3, 4]);
});

test("what is no longer kept is not asked for", async () => {
  const { asked, lines } = log(40_000, 29_078);
  await lines.open();
  lines.want(28_900, 29_100);
  await settled();
  assert.deepEqual(asked[1], [29_078, 500]);
  assert.equal(lines.first, 29_078);
});
