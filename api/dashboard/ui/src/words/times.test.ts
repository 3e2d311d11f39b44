import assert from "node:assert/strict";
import { test } from "node:test";
import { clock, inFull, inZone, when, zone } from "./times.ts";

const NOW = new Date(2026, 10, 26, 9, 14, 7, 120).getTime();
const at = (month: number, day: number, hour = 6, year = 2026) => new Date(year, month, day, hour, 30).getTime();

test("a moment is told as shortly as it can be", () => {
  assert.equal(when(at(10, 26), NOW), "06:30");
  assert.equal(when(at(10, 25), NOW), "yesterday 06:30");
  assert.equal(when(at(10, 27), NOW), "tomorrow 06:30");
  assert.equal(when(at(10, 30), NOW), "Mon 06:30");
  assert.equal(when(at(10, 3), NOW), "3 Nov 06:30");
  assert.equal(when(at(10, 3, 6, 2025), NOW), "3 Nov 2025");
});

test("clocks have two digits each", () => {
  assert.equal(clock(NOW), "09:14:07");
  assert.equal(inFull(NOW), "Thu 26 Nov 2026, 09:14:07.120");
});

test("a zone is named by its distance from UTC", () => {
  assert.match(zone(NOW), /^UTC([+−]\d+(:\d\d)?)?$/);
});

test("a schedule names its zone when the reader lives in another", () => {
  assert.equal(inZone("at 06:30 on Monday", "Europe/Berlin", "Europe/Berlin"), "at 06:30 on Monday");
  assert.equal(inZone("at 06:30 on Monday", "America/New_York", "Europe/Berlin"), "at 06:30 on Monday, New York");
  assert.equal(inZone("at 06:30 on Monday", undefined, "Europe/Berlin"), "at 06:30 on Monday, UTC");
  assert.equal(inZone("every 5 minutes", undefined, "Europe/Berlin"), "every 5 minutes");
});
