/** What needs somebody, worst first; until the API keeps alarms, from what its lists say. */

import type { Fleet, Queue, Run, Task } from "../api/types.ts";
import { many, roughly } from "./durations.ts";
import { BAD, type State, STATES, WORDS } from "./states.ts";
import { when } from "./times.ts";

export interface Attention {
  key: string;
  state: State;
  subject: string;
  path: string;
  /** What is wrong; *rest* follows it in a quieter colour. */
  text: string;
  rest: string;
  tone: (typeof STATES)[State]["tone"];
  words?: string;
  run?: Run;
  /** A command that helps. */
  cure?: string;
}

interface Seen {
  tasks: Task[];
  queues: Queue[];
  fleet: Fleet;
  /** The last runs of tasks that fail, newest first. */
  histories: ReadonlyMap<string, Run[]>;
  now: number;
}

export function attentionOf({ tasks, queues, fleet, histories, now }: Seen): Attention[] {
  return [...ofFleet(fleet), ...queues.flatMap(ofQueue), ...tasks.flatMap((task) => ofTask(task, histories.get(task.name) ?? [], now))];
}

function ofFleet(fleet: Fleet): Attention[] {
  const about = { state: "no_worker" as const, subject: "scheduler", path: "/fleet", tone: "warn" as const };
  if (!fleet.leader) {
    const rest = "No schedule fires, no retry starts, and lost runs are not found.";
    return [{ ...about, key: "scheduler", text: "No scheduler leads.", rest, cure: "runfleet scheduler" }];
  }
  const overdue = fleet.schedules?.overdue ?? 0;
  if (!overdue) return [];
  const rest = (fleet.schedules?.overdue_tasks ?? []).join(", ");
  return [{ ...about, key: "overdue", text: `${many(overdue, "schedule")} overdue:`, rest }];
}

function ofQueue(queue: Queue): Attention[] {
  if (!queue.depth) return [];
  const about = { key: `queue:${queue.name}`, state: "no_worker" as const, subject: `queue ${queue.name}`, path: "/fleet", tone: "warn" as const };
  const waiting = `${many(queue.depth, "run waits", "runs wait")}, the oldest ${roughly(queue.latency_ms)}.`;
  if (!queue.workers) return [{ ...about, text: `No worker serves queue ${queue.name}:`, rest: waiting, cure: `RUNFLEET_QUEUES=${queue.name} runfleet worker` }];
  if (queue.paused) return [{ ...about, text: `Queue ${queue.name} is paused:`, rest: waiting }];
  return [];
}

function ofTask(task: Task, history: Run[], now: number): Attention[] {
  const last = history.find((run) => run.status === "ended") ?? task.last_run;
  if (!last || last.status !== "ended" || !BAD.has(last.end_reason ?? "failed")) return [];
  const state = last.end_reason ?? "failed";
  const { count, since, success } = streakOf(history, last);
  const text = count > 1 ? `${task.name} failed ${count} times in a row` : `${task.name} ${VERBS[state] ?? WORDS[state]}`;
  const begun = ` since ${when(since, now)}`;
  const rest = `${count > 1 ? begun : ` at ${when(since, now)}`}${success === undefined ? "" : `; last success ${when(success, now)}`}.`;
  return [{ key: `task:${task.name}`, state, subject: task.name, path: `/tasks/${task.name}`, text, rest, tone: STATES[state].tone, words: last.message, run: last }];
}

const VERBS: Partial<Record<State, string>> = { log_overflow: "filled its log" };

/** How often in a row it ended badly, each execution once, and since when. */
export function streakOf(history: Run[], last: Run): { count: number; since: number; success: number | undefined } {
  const executions = new Set<string>([last.execution_id]);
  let since = Date.parse(last.end_at ?? last.created_at);
  for (const run of history) {
    if (run.status !== "ended" || run.end_reason === "skipped") continue;
    const at = Date.parse(run.end_at ?? run.created_at);
    if (run.end_reason === "success") return { count: executions.size, since, success: at };
    executions.add(run.execution_id);
    since = Math.min(since, at);
  }
  return { count: executions.size, since, success: undefined };
}

/** The sentence above everything. */
export function headline(needs: number, running: number, next: { task: string; inWords: string } | undefined): string {
  const first = needs ? `${many(needs, "thing needs", "things need")} you.` : "Nothing needs you.";
  const second = running ? ` ${many(running, "runs", "run")} now.` : " Nothing runs.";
  return `${first}${second}${next ? ` Next: ${next.task} ${next.inWords}.` : ""}`;
}
