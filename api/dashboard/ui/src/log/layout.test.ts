import assert from "node:assert/strict";
import { test } from "node:test";
import { Layout, SILENCE } from "./layout.ts";
import type { Line } from "./lines.ts";

const line = (n: number, more: Partial<Line> = {}): Line => ({ n, at: n * 100, stream: "stdout", text: `line ${n}`, ...more });

function layout(total: number, first = 0) {
  const made = new Layout();
  made.begin(first);
  made.grow(total);
  return made;
}

test("lines not seen count a row, and those seen as many as they take", () => {
  const log = layout(100);
  log.wrap = true;
  log.columns = 10;
  log.see(line(3, { text: "x".repeat(25) }), undefined);
  assert.equal(log.rows.total, 102);
  assert.equal(log.rows.before(4), 6);
});

test("a silence adds a row above the line that ends it", () => {
  const log = layout(10);
  log.see(line(5, { at: 20_000 }), line(4, { at: 1000 }));
  assert.ok(log.has(5, SILENCE));
  assert.equal(log.rows.get(5), 2);
  log.see(line(5, { at: 20_000 }), undefined);
  assert.equal(log.rows.get(5), 2);
});

test("hidden streams and lines that do not match take none", () => {
  const log = layout(10);
  log.see(line(2, { stream: "stderr" }), undefined);
  log.hidden = new Set(["stderr"]);
  log.again(() => undefined);
  assert.equal(log.rows.total, 9);
  log.only = new Set([4, 5]);
  log.again(() => undefined);
  assert.equal(log.rows.total, 2);
  log.grow(20);
  assert.equal(log.rows.total, 2);
});

test("lines that are gone take none, and numbers stay", () => {
  const log = layout(130, 100);
  assert.equal(log.rows.total, 30);
  log.drop(110);
  assert.equal(log.rows.total, 20);
  assert.equal(log.rows.find(0) + log.base, 110);
});

test("blocks of stderr are found in both directions", () => {
  const log = layout(20);
  for (const n of [4, 5, 9, 10, 11]) log.see(line(n, { stream: "stderr" }), undefined);
  assert.deepEqual([log.stderrFrom(0, 1), log.stderrFrom(4, 1), log.stderrFrom(9, 1)], [4, 9, undefined]);
  assert.deepEqual([log.stderrFrom(19, -1), log.stderrFrom(9, -1), log.stderrFrom(4, -1)], [9, 4, undefined]);
});
