/** The API's objects by their short names. schema.d.ts is made from /openapi.json by `make dashboard`. */

import type { components } from "./schema.d.ts";

type Schemas = components["schemas"];

export type Run = Schemas["Run"];
export type RunsPage = Schemas["RunsResponseBody"];
export type LogLine = Schemas["LogLine"];
export type LogWindow = Schemas["LogResponseBody"];
export type Task = Schemas["TaskModel"];
export type Tasks = Schemas["TasksResponseBody"];
export type Stats = Schemas["StatsModel"];
export type Execution = Schemas["ExecutionModel"];
export type Queue = Schemas["QueueModel"];
export type Worker = Schemas["WorkerModel"];
export type Fleet = Schemas["FleetModel"];

/** Who is signed in; `open` when the API asks nobody for a token. */
export interface Session {
  who: string;
  scope: "read" | "run" | "admin";
  tasks?: string;
  expires_at?: string;
  csrf?: string;
  open?: boolean;
}

/** What `GET /api/runs/{id}/log/find` answers: [line, from, to] for each hit. */
export interface Found {
  hits: [number, number, number][];
  total: number;
  complete: boolean;
  scanned: number;
}

/** What `GET /api/runs/{id}/why` answers. */
export interface Why {
  text: string;
  because: { code: string; text: string; cure?: string }[];
  changed?: { code: string; text: string }[];
}

/** A task's parameter, as its definition declares it. */
export interface Param {
  type?: "string" | "number" | "bool" | "json";
  description?: string;
  default?: unknown;
  choices?: unknown[];
  pattern?: string;
  required?: boolean;
  secret?: boolean;
}
