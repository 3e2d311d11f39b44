import assert from "node:assert/strict";
import { test } from "node:test";
import { chosen, fromHash, toHash } from "./marks.ts";

test("an address names a line or a range of them", () => {
  assert.deepEqual(fromHash("#L120"), { from: 119, to: 119 });
  assert.deepEqual(fromHash("#L140-120"), { from: 119, to: 139 });
  assert.equal(fromHash("#top"), undefined);
  for (const hash of ["#L1", "#L120-140"]) assert.equal(toHash(fromHash(hash) ?? { from: 0, to: 0 }), hash);
});

test("shift spans from the line before", () => {
  assert.deepEqual(chosen(9, { from: 4, to: 4 }, true), { from: 4, to: 9 });
  assert.deepEqual(chosen(2, { from: 4, to: 9 }, true), { from: 2, to: 9 });
  assert.deepEqual(chosen(2, { from: 4, to: 9 }, false), { from: 2, to: 2 });
});
