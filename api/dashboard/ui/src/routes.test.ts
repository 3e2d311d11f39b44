import assert from "node:assert/strict";
import { test } from "node:test";
import { match } from "./routes.ts";

const found = (path: string) => {
  const hit = match(path);
  return hit && [hit.route.path, hit.params];
};

test("a path leads to its page and brings its parts", () => {
  assert.deepEqual(found("/"), ["/", {}]);
  assert.deepEqual(found("/tasks/report"), ["/tasks/{name}", { name: "report" }]);
  assert.deepEqual(found("/tasks/report/run"), ["/tasks/{name}/run", { name: "report" }]);
  assert.deepEqual(found("/tasks/report/1412"), ["/tasks/{name}/{number}", { name: "report", number: "1412" }]);
  assert.deepEqual(found("/runs/report%231412"), ["/runs/{id}", { id: "report#1412" }]);
});

test("what is no page is none", () => {
  for (const path of ["/nowhere", "/tasks/", "/tasks/a/b/c", ""]) assert.equal(found(path), undefined);
});
