/** Sentences about runs: why one ended, what it waits for. */

import type { Run } from "../api/types.ts";
import { duration, elapsed, roughly } from "./durations.ts";
import type { State } from "./states.ts";

const SIGNALS: Record<number, string> = { 1: "SIGHUP", 2: "SIGINT", 6: "SIGABRT", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM" };

/** What stands behind the state in a run's header. */
export function sentenceOf(run: Run, state: State, now: number): string {
  const after = run.duration_ms === undefined ? "" : ` after ${duration(run.duration_ms)}`;
  switch (state) {
    case "due":
      return run.due_at ? `starts in ${roughly(Date.parse(run.due_at) - now)}` : "waits for its time";
    case "queued":
      return `in queue ${run.queue}`;
    case "blocked":
      return "waits until another run is over";
    case "no_worker":
      return `serves queue ${run.queue}`;
    case "running":
      return run.start_at ? `for ${elapsed(now - Date.parse(run.start_at))}` : "";
    case "stopping":
      return "asked to stop";
    case "success":
      return `in ${duration(run.duration_ms ?? 0)}`;
    case "failed":
      return `${failure(run)}${after}`;
    default:
      return run.message ? `${run.message}` : after.trim();
  }
}

function failure(run: Run): string {
  const signal = SIGNALS[run.exit_code - 128];
  if (signal) return `killed by ${signal}`;
  if (run.message && !run.message.startsWith("exited with code")) return run.message;
  return run.exit_code > 0 ? `exited with ${run.exit_code}` : "failed";
}

/** How a run came to be, in a word or two. */
export function triggerOf(run: Run): string {
  if (run.retry_attempt > 0) return "retry";
  return run.triggered_by;
}

/** The one line that says what went wrong, for a table. */
export function lastWords(run: Run): string {
  return run.message ?? "";
}

export function title(run: Pick<Run, "task_name" | "number">): string {
  return `${run.task_name}#${run.number}`;
}
