import assert from "node:assert/strict";
import { test } from "node:test";
import type { Task } from "../api/types.ts";
import { fieldsOf, firstText, formPath, jsonProblem, valuesOf } from "./params.ts";

const task = {
  definition: {
    params: {
      day: { pattern: "\\d+", required: true }, format: { choices: ["csv", "json"], default: "csv" }, rows: { type: "number", default: 3 },
      fast: { type: "bool" }, extra: { type: "json" }, many: { choices: [1, 2, 3, 4, 5, 6] },
    },
  },
} as unknown as Task;
const fields = fieldsOf(task);

test("each parameter has the field that fits it", () => {
  assert.deepEqual(fields.map((field) => [field.name, field.kind]), [
    ["day", "text"], ["format", "radios"], ["rows", "number"], ["fast", "switch"], ["extra", "json"], ["many", "list"],
  ]);
  assert.deepEqual(fields.map((field) => firstText(field, null)), ["", "csv", "3", "", "", ""]);
  assert.equal(firstText(fields[0] ?? assert.fail(), "2026"), "2026");
});

test("values have their types, and what was left empty is left out", () => {
  const texts = { day: "", format: "json", rows: "12", fast: "true", extra: '{"a": [1]}', many: "4" };
  assert.deepEqual(valuesOf(fields, texts), { day: "", format: "json", rows: 12, fast: true, extra: { a: [1] }, many: 4 });
  assert.deepEqual(valuesOf(fields, { day: "x", rows: "many", extra: "{" }), { day: "x", rows: "many", extra: "{" });
});

test("wrong JSON is told where", () => {
  assert.equal(jsonProblem('{"a": 1}'), "");
  assert.notEqual(jsonProblem("{a"), "");
});

test("a form can be filled by its address", () => {
  assert.equal(formPath("report", { day: "2026-11-25", rows: 3 }), "/tasks/report/run?day=2026-11-25&rows=3");
  assert.equal(formPath("clock", undefined), "/tasks/clock/run");
});
