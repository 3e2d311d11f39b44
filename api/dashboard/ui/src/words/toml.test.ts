import assert from "node:assert/strict";
import { test } from "node:test";
import { toml } from "./toml.ts";

test("a definition reads as in the task file", () => {
  const shown = toml("report", {
    name: "report", run: "a\nb\n", cron: ["@daily"], timeout_ms: 1000, env: { A: "1" }, params: { day: { pattern: "\\d+", required: true } },
  });
  assert.equal(
    shown,
    "[tasks.report]\nrun = '''\na\nb\n'''\ncron = [\"@daily\"]\ntimeout_ms = 1000\n\n[tasks.report.env]\nA = \"1\"\n\n[tasks.report.params.day]\npattern = '\\d+'\nrequired = true",
  );
});
