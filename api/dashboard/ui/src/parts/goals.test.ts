import assert from "node:assert/strict";
import { test } from "node:test";
import { goals } from "./goals.ts";

const TASKS = ["report", "import", "orders-export"];
const paths = (text: string) => goals(text, TASKS).map((goal) => goal.path);

test("a few letters find tasks, the closest first", () => {
  assert.equal(paths("rep")[0], "/tasks/report");
  assert.equal(paths("oexp")[0], "/tasks/orders-export");
  assert.deepEqual(paths("xyz"), []);
});

test("a run is found by its name and by its id", () => {
  assert.deepEqual(paths("report#1412"), ["/tasks/report/1412"]);
  assert.deepEqual(paths("01a2175c-ae77-7000-8000-000000000000"), ["/runs/01a2175c-ae77-7000-8000-000000000000"]);
});

test("nothing typed shows the pages first", () => {
  assert.equal(paths("")[0], "/");
  assert.ok(paths("").includes("/tasks/report"));
});
