import assert from "node:assert/strict";
import { test } from "node:test";
import { Fenwick } from "./fenwick.ts";
import { cells, plain, rowsOf } from "./wrap.ts";

test("cells are counted as a terminal does", () => {
  assert.equal(cells("plain"), 5);
  assert.equal(cells("日本語"), 6);
  assert.equal(cells("a\tb"), 9);
  assert.equal(cells("🚀!"), 3);
  assert.equal(cells("e\u0301"), 1);
  assert.equal(plain("\x1b[1;31mERROR\x1b[0m x"), "ERROR x");
});

test("a line takes the rows that its cells fill", () => {
  assert.deepEqual([0, 1, 80, 81, 160, 161].map((length) => rowsOf("x".repeat(length), 80)), [1, 1, 1, 2, 2, 3]);
});

test("sums agree with adding up", () => {
  const rows = new Fenwick();
  const wanted: number[] = [];
  let seed = 7;
  const dice = (below: number) => (seed = (seed * 48271) % 2147483647) % below;
  for (let round = 0; round < 400; round++) {
    const size = wanted.length + dice(20);
    while (wanted.length < size) wanted.push(1);
    rows.grow(size, 1);
    const at = dice(size || 1);
    if (size) rows.set(at, (wanted[at] = dice(5)));
  }
  let sum = 0;
  for (const [at, value] of wanted.entries()) {
    assert.equal(rows.before(at), sum);
    assert.equal(rows.get(at), value);
    if (value) assert.equal(rows.find(sum), at);
    sum += value;
  }
  assert.equal(rows.total, sum);
  assert.equal(rows.find(sum + 100), wanted.length - 1);
  rows.setAll(() => 2);
  assert.equal(rows.before(10), 20);
});
