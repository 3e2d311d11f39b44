/** Filters of the list of runs: as the address has them, as people type them, as the API takes them. */

export type Filters = Record<string, string>;

/** The names that the address may have; those of `GET /api/runs`, and `since`, which is a span such as 6h. */
export const FILTERS = [
  "status", "task_name", "queue", "worker", "tag", "triggered_by", "execution_id", "exit_code", "min_duration_ms",
  "retries_only", "since", "search",
] as const;

const UNITS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const STATUSES: Record<string, string> = {
  waiting: "pending", pending: "pending", running: "running", ended: "ended", done: "success", success: "success", failed: "failed",
  timeout: "timeout", crashed: "crashed", stopped: "stopped", skipped: "skipped", full: "log_overflow", log_overflow: "log_overflow",
};
const NAMES: Record<string, string> = {
  task: "task_name", queue: "queue", worker: "worker", tag: "tag", by: "triggered_by", exit: "exit_code", status: "status", since: "since",
};
const SPAN = /^(\d+(?:\.\d+)?)([smhd])$/;

export const PRESETS: { name: string; filters: Filters }[] = [
  { name: "All", filters: {} },
  { name: "All but done", filters: { status: "pending,running,failed,timeout,crashed,log_overflow,stopped,skipped" } },
  { name: "Failed", filters: { status: "failed,timeout,crashed,log_overflow" } },
  { name: "Running", filters: { status: "running" } },
  { name: "Slow", filters: { min_duration_ms: "60000" } },
  { name: "Retried", filters: { retries_only: "true" } },
];

export function fromQuery(query: URLSearchParams): Filters {
  return Object.fromEntries(FILTERS.flatMap((name) => (query.get(name) ? [[name, query.get(name) ?? ""]] : [])));
}

/** What somebody typed, such as `failed task:report >5m since:6h daily`; what is no filter is searched for. */
export function fromText(text: string): Filters {
  const found: Filters = {};
  const add = (name: string, value: string) => (found[name] = found[name] ? `${found[name]},${value}` : value);
  const rest: string[] = [];
  for (const word of text.split(/\s+/).filter(Boolean)) {
    const [name, ...values] = word.split(":");
    const field = NAMES[name ?? ""];
    const span = /^>(.+)$/.exec(word)?.[1];
    const status = STATUSES[word.toLowerCase()];
    if (field && values.length) add(field, field === "status" ? (STATUSES[values.join(":")] ?? values.join(":")) : values.join(":"));
    else if (span && spanMs(span) !== undefined) found.min_duration_ms = String(spanMs(span));
    else if (word === "retried") found.retries_only = "true";
    else if (status) add("status", status);
    else rest.push(word);
  }
  if (rest.length) found.search = rest.join(" ");
  return found;
}

/** As `GET /api/runs` takes them. */
export function toCall(filters: Filters, now: number): Filters {
  const { since, ...call } = filters;
  const back = since === undefined ? undefined : spanMs(since);
  return back === undefined ? call : { ...call, created_after: new Date(now - back).toISOString() };
}

export interface Chip {
  name: string;
  text: string;
}

const TEXTS: Record<string, string> = {
  task_name: "task", worker: "worker", queue: "queue", tag: "tag", triggered_by: "by", exit_code: "exit code", status: "state",
  since: "since", search: "has", execution_id: "execution",
};

export function chips(filters: Filters): Chip[] {
  return Object.entries(filters).map(([name, value]) => {
    if (name === "retries_only") return { name, text: "retried" };
    if (name === "min_duration_ms") return { name, text: `longer than ${spanText(Number(value))}` };
    if (name === "execution_id") return { name, text: `execution …${value.slice(-8)}` };
    const shown = name === "status" ? value.replace("success", "done").replace("log_overflow", "log full").replaceAll(",", ", ") : value;
    return { name, text: `${TEXTS[name] ?? name}: ${shown}` };
  });
}

export function isPreset(filters: Filters, preset: Filters): boolean {
  const names = new Set([...Object.keys(filters), ...Object.keys(preset)]);
  return [...names].every((name) => filters[name] === preset[name]);
}

export function spanMs(text: string): number | undefined {
  const found = SPAN.exec(text);
  return found ? Number(found[1]) * (UNITS[found[2] ?? ""] ?? 0) : undefined;
}

function spanText(ms: number): string {
  const unit = (["d", "h", "m"] as const).find((name) => ms >= (UNITS[name] ?? 0) && ms % (UNITS[name] ?? 1) === 0);
  return unit ? `${ms / (UNITS[unit] ?? 1)} ${unit === "m" ? "min" : unit}` : `${ms / 1000} s`;
}
