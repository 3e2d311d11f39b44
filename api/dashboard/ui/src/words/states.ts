/** The 13 states of a run: one word, one glyph, one colour each. The CLI has the same. */

import type { Run } from "../api/types.ts";
import { duration, elapsed } from "./durations.ts";
import { when } from "./times.ts";

export type State =
  | "due" | "queued" | "blocked" | "no_worker" | "running" | "stopping"
  | "success" | "failed" | "timeout" | "crashed" | "log_overflow" | "stopped" | "skipped";

export type Tone = "muted" | "warn" | "accent" | "stop" | "bad" | "crash";

interface Look {
  tone: Tone;
  character: string;
}

export const STATES: Record<State, Look> = {
  due: { tone: "muted", character: "◷" },
  queued: { tone: "muted", character: "○" },
  blocked: { tone: "muted", character: "◌" },
  no_worker: { tone: "warn", character: "○" },
  running: { tone: "accent", character: "◐" },
  stopping: { tone: "stop", character: "◑" },
  success: { tone: "muted", character: "✓" },
  failed: { tone: "bad", character: "✕" },
  timeout: { tone: "bad", character: "⧖" },
  crashed: { tone: "crash", character: "⚡" },
  log_overflow: { tone: "bad", character: "≣" },
  stopped: { tone: "stop", character: "■" },
  skipped: { tone: "muted", character: "⤼" },
};

/** Worst first: what many runs are shown as, when they are shown as one. */
const BY_WEIGHT: State[] = [
  "crashed", "failed", "timeout", "log_overflow", "stopped", "stopping", "running",
  "no_worker", "blocked", "queued", "due", "success", "skipped",
];

export const BAD: ReadonlySet<State> = new Set<State>(["crashed", "failed", "timeout", "log_overflow"]);
export const LIVE: ReadonlySet<State> = new Set<State>(["running", "stopping"]);

/** Where a queue name is in *unserved*, its waiting runs have no worker. */
export function stateOf(run: Run, now: number, unserved: ReadonlySet<string> = new Set()): State {
  if (run.status === "ended") return run.end_reason ?? "failed";
  if (run.status === "running") return run.stop_requested ? "stopping" : "running";
  if (run.due_at && Date.parse(run.due_at) > now) return "due";
  return unserved.has(run.queue) ? "no_worker" : "queued";
}

export function worst(states: State[]): State | undefined {
  return BY_WEIGHT.find((state) => states.includes(state));
}

/** The words of a table's cell, such as *failed 1* or *running 1:02*. */
export function wordsOf(run: Run, state: State, now: number): string {
  const since = (at?: string) => (at ? ` ${elapsed(now - Date.parse(at))}` : "");
  switch (state) {
    case "due":
      return run.due_at ? `due ${when(Date.parse(run.due_at), now)}` : "due";
    case "queued":
      return `waiting${since(run.due_at ?? run.created_at)}`;
    case "blocked":
      return "queued";
    case "no_worker":
      return "no worker";
    case "running":
      return `running${since(run.start_at)}`;
    case "success":
      return run.duration_ms === undefined ? "done" : `done ${duration(run.duration_ms)}`;
    case "failed":
      return run.exit_code > 0 ? `failed ${run.exit_code}` : "failed";
    default:
      return WORDS[state];
  }
}

export const WORDS: Record<State, string> = {
  due: "due",
  queued: "waiting",
  blocked: "queued",
  no_worker: "no worker",
  running: "running",
  stopping: "stopping",
  success: "done",
  failed: "failed",
  timeout: "timed out",
  crashed: "crashed",
  log_overflow: "log full",
  stopped: "stopped",
  skipped: "skipped",
};
