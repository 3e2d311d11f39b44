import assert from "node:assert/strict";
import { test } from "node:test";
import { contrast, pieces } from "./ansi.ts";

const shown = (text: string) => pieces(text, true).map((piece) => [piece.text, piece.look]);

test("colours and weights are pieces of the line", () => {
  assert.deepEqual(shown("plain"), [["plain", ""]]);
  assert.deepEqual(shown("\x1b[1;31mERROR\x1b[0m rest"), [["ERROR", "bold fg-1"], [" rest", ""]]);
  assert.deepEqual(shown("\x1b[92mx\x1b[39;44my\x1b[mz"), [["x", "fg-10"], ["y", "bg-4"], ["z", ""]]);
  assert.deepEqual(shown("\x1b[38;5;9mx"), [["x", "fg-9"]]);
});

test("the text of all pieces is the line without its codes", () => {
  const text = "\x1b[2ma\x1b[22m \x1b[38;2;1;2;3mb\x1b[48;5;200m\x1b[7mc\x1b[0m";
  assert.equal(pieces(text, false).map((piece) => piece.text).join(""), "a bc");
});

test("a colour that cannot be read on its ground is lifted", () => {
  for (const [isDark, ground] of [[true, [10, 12, 15]], [false, [238, 241, 244]]] as const) {
    for (const code of ["38;2;20;20;40", "38;2;250;250;200", "38;5;17", "38;5;255"]) {
      const colour = pieces(`\x1b[${code}mx`, isDark)[0]?.colour.match(/\d+/g)?.map(Number) as [number, number, number];
      assert.ok(contrast(colour, [...ground]) >= 4.5, `${code} on ${ground}`);
    }
  }
});

test("addresses are links, without the full stop after them", () => {
  const found = pieces("see https://x.example/a?b=1. and (http://y.example/)", true);
  assert.deepEqual(found.flatMap((piece) => piece.link ?? []), ["https://x.example/a?b=1", "http://y.example/"]);
});
