import assert from "node:assert/strict";
import { test } from "node:test";
import { Parser, pause } from "./sse.ts";

const STREAM = "id: 7-0\n: from here\n\nevent: run.ended\r\nid: 8-0\r\ndata: {\"a\":1}\r\n\r\ndata: x\ndata: y\n\n: still here\n\n";

test("a stream is the same however it is cut", () => {
  const whole = new Parser().push(STREAM);
  assert.deepEqual(whole, [
    { id: "8-0", type: "run.ended", data: '{"a":1}' },
    { id: "8-0", type: "message", data: "x\ny" },
  ]);
  for (const size of [1, 2, 3, 7, 11]) {
    const parser = new Parser();
    const found = [];
    for (let at = 0; at < STREAM.length; at += size) found.push(...parser.push(STREAM.slice(at, at + size)));
    assert.deepEqual(found, whole);
  }
});

test("an id without an event is where the stream is resumed", () => {
  const parser = new Parser();
  assert.deepEqual(parser.push("id: 7-0\n: from here\n\n"), []);
  assert.equal(parser.lastId, "7-0");
});

test("pauses grow to 15 s and are never of one length", () => {
  assert.equal(pause(0, 1), 500);
  assert.equal(pause(0, 0), 250);
  assert.equal(pause(3, 1), 4000);
  assert.equal(pause(20, 1), 15_000);
});
