/** What people do to runs and tasks, with a note and, where it can be, a way back. */

import { post } from "../api/client.ts";
import type { Run, Task } from "../api/types.ts";
import { place, runPath } from "../router.svelte.ts";
import { title } from "../words/sentences.ts";
import { toasts } from "./toasts.svelte.ts";

export async function runAgain(run: Run): Promise<void> {
  await told(async () => {
    const made = await post<Run>(`/api/runs/${run.id}/rerun`);
    toasts.show(`${title(made)} is started with the same parameters.`);
    place.go(runPath(made));
  });
}

export async function stop(run: Run, done: () => void): Promise<void> {
  await told(async () => {
    await post<Run>(`/api/runs/${run.id}/stop`);
    toasts.show(`${title(run)} was asked to stop.`, { label: "Kill now", act: () => void kill(run, done) });
    done();
  });
}

async function kill(run: Run, done: () => void): Promise<void> {
  await told(async () => {
    await post<Run>(`/api/runs/${run.id}/stop`, undefined, { force: true });
    done();
  });
}

export async function start(task: Task, body: object = {}): Promise<void> {
  await told(async () => {
    const made = await post<Run>(`/api/tasks/${task.name}/run`, body);
    if (made.end_reason === "skipped") toasts.show(made.message ?? `${title(made)} was skipped.`, { bad: true });
    place.go(runPath(made));
  });
}

export async function pause(task: Pick<Task, "name" | "paused">, done: () => void, quiet = false): Promise<void> {
  await told(async () => {
    await post<Task>(`/api/tasks/${task.name}/${task.paused ? "resume" : "pause"}`);
    done();
    if (quiet) return;
    const back = { name: task.name, paused: !task.paused };
    const text = task.paused ? `The schedule of ${task.name} goes on.` : `The schedule of ${task.name} is paused; Run still works.`;
    toasts.show(text, { label: "Undo", act: () => void pause(back, done, true) });
  });
}

export async function copy(text: string, what: string): Promise<void> {
  await told(async () => {
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else copyByHand(text);
    toasts.show(`Copied ${what}.`, { ms: 2500 });
  });
}

/** Where the page came over plain HTTP from another machine there is no clipboard to write to. */
function copyByHand(text: string): void {
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

async function told(act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    toasts.refuse(error);
  }
}
