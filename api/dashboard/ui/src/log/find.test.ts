import assert from "node:assert/strict";
import { test } from "node:test";
import { type Hit, hitsIn, matcher, nearest, searchHere } from "./find.ts";

const pattern = (text: string, more = {}) => matcher({ text, regex: false, case: false, ...more });

test("text is found as it is written, whatever it means to regular expressions", () => {
  assert.deepEqual(hitsIn("a.b A.B axb", pattern("a.b") ?? /x/g), [[0, 3], [4, 7]]);
  assert.deepEqual(hitsIn("a.b A.B axb", pattern("a.b", { case: true }) ?? /x/g), [[0, 3]]);
  assert.equal(hitsIn("a.b A.B axb", pattern("a.b", { regex: true }) ?? /x/g).length, 3);
  assert.equal(pattern("(", { regex: true }), undefined);
});

test("colours are not in the way", () => {
  assert.deepEqual(hitsIn("\x1b[31mKey\x1b[0mError", pattern("keyerror") ?? /x/g), [[0, 8]]);
});

test("a whole log is searched in steps, and can be given up", async () => {
  const lines = Array.from({ length: 12_000 }, (_, n) => ({ n, at: "", stream: "stdout" as const, text: n % 3000 ? "x" : "needle" }));
  const read = async (from: number, limit: number) => ({
    lines: lines.slice(from, from + limit), first_available: 0, total_lines: 12_000, truncated: false, finalized: true,
  });
  const all: Hit[] = [];
  await searchHere(/needle/g, 0, read, (hits) => all.push(...hits) >= 0);
  assert.deepEqual(all.map((hit) => hit.n), [0, 3000, 6000, 9000]);
  let steps = 0;
  await searchHere(/needle/g, 0, read, () => (steps++, false));
  assert.equal(steps, 1);
});

test("the next hit is the nearest one below", () => {
  const hits = [{ n: 3, from: 0, to: 1 }, { n: 9, from: 0, to: 1 }];
  assert.deepEqual([nearest(hits, 0), nearest(hits, 4), nearest(hits, 10), nearest([], 1)], [0, 1, 1, -1]);
});
