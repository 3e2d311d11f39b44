/** What a task's last runs tell: what is usual, and what is different about one of them. */

import type { Run } from "../api/types.ts";
import { duration, many } from "./durations.ts";
import { BAD, type State } from "./states.ts";

export interface Usual {
  p50: number;
  p95: number;
}

const LEAST = 5;
const LAST = 60;
const FACTOR = 1.5;

/** Of the successes among the last 60 ended runs; undefined under 5. *runs* come newest first. */
export function usualOf(runs: Run[]): Usual | undefined {
  const times = runs
    .filter((run) => run.status === "ended")
    .slice(0, LAST)
    .flatMap((run) => (run.end_reason === "success" && run.duration_ms !== undefined ? [run.duration_ms] : []))
    .sort((a, b) => a - b);
  if (times.length < LEAST) return undefined;
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? 0;
  return { p50: at(0.5), p95: at(0.95) };
}

export interface Fact {
  text: string;
  isBad: boolean;
}

/** For a bad end: what is different from before, the worst first. *runs* are the task's, newest first. */
export function factsOf(run: Run, runs: Run[]): Fact[] {
  if (run.status !== "ended" || !BAD.has((run.end_reason ?? "failed") as State)) return [];
  const facts: Fact[] = [];
  const before = runs.filter((other) => other.number < run.number && other.execution_id !== run.execution_id && other.status === "ended");
  const first = before[0];
  if (!first) return [];
  const lastGood = before.findIndex((other) => other.end_reason === "success");
  if (lastGood === 0) {
    const good = before.findIndex((other) => other.end_reason !== "success");
    const streak = good < 0 ? before.length : good;
    facts.push({ text: `first failure after ${streak === before.length && before.length >= LAST - 1 ? "at least " : ""}${many(streak, "success", "successes")}`, isBad: true });
  } else {
    const streak = (lastGood < 0 ? before.length : lastGood) + 1;
    facts.push({ text: `${lastGood < 0 ? "no success in the last" : "failed"} ${streak} ${lastGood < 0 ? "runs" : "times in a row"}`, isBad: true });
  }
  const good = before[lastGood];
  if (!good) return facts;
  if (good.definition !== run.definition) {
    const since = before.slice(0, lastGood).filter((other) => other.definition === run.definition).length;
    facts.push({ text: since ? `definition changed ${many(since + 1, "run")} ago` : "definition changed just before", isBad: false });
  }
  if (good.worker && run.worker && good.worker !== run.worker) facts.push({ text: `other worker than the last success (${good.worker})`, isBad: false });
  const usual = usualOf(before)?.p50;
  if (usual && run.duration_ms !== undefined) {
    const factor = run.duration_ms / usual;
    if (factor >= FACTOR) facts.push({ text: `${factor.toFixed(1)} × longer than usual (${duration(usual)})`, isBad: false });
    else if (factor <= 1 / FACTOR) facts.push({ text: `${(1 / factor).toFixed(1)} × shorter than usual (${duration(usual)})`, isBad: false });
  }
  return facts;
}

/** The runs around *run*, oldest first, and no more than *most*. */
export function around(run: Run, runs: Run[], most = 30): Run[] {
  const sorted = [...runs].sort((a, b) => a.number - b.number);
  const at = sorted.findIndex((other) => other.number === run.number);
  if (at < 0) return [];
  const last = Math.min(sorted.length, Math.max(at + most / 2, most));
  return sorted.slice(Math.max(0, last - most), last);
}
