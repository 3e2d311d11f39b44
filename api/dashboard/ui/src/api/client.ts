/** Calls of the native API: one function a method, and every refusal as a Problem. */

import { sent } from "./headers.ts";

/** The path below which the fleet is served: "" or such as "/fleet". */
export const root = meta("runfleet-root");

const calls = meta("runfleet-calls");

/** Whether this server has a call that older ones lack; *path* as the API's documentation writes it. */
export function has(path: string): boolean {
  return calls === "*" || calls.split(" ").includes(path);
}

/** What the API refused, or that it could not be reached (status 0). */
export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly errors: { location: string; message: string }[];

  constructor(status: number, title: string, detail: string, errors: { location: string; message: string }[] = []) {
    super(detail);
    this.status = status;
    this.title = title;
    this.errors = errors;
  }
}

export type Query = Record<string, string | number | boolean | undefined>;

export function get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
  return call<T>("GET", path, query, undefined, signal);
}

export function post<T>(path: string, body?: object, query?: Query): Promise<T> {
  return call<T>("POST", path, query, body);
}

export function remove(path: string): Promise<void> {
  return call<void>("DELETE", path);
}

export function address(path: string, query?: Query): string {
  const given = Object.entries(query ?? {}).flatMap(([name, value]) =>
    value === undefined || value === "" ? [] : [[name, String(value)]],
  );
  const text = new URLSearchParams(given).toString();
  return `${root}${path}${text ? `?${text}` : ""}`;
}

async function call<T>(method: string, path: string, query?: Query, body?: object, signal?: AbortSignal): Promise<T> {
  const headers = new Headers(method === "GET" ? {} : sent());
  if (body) headers.set("Content-Type", "application/json");
  let answer: Response;
  try {
    answer = await fetch(address(path, query), { method, headers, body: body && JSON.stringify(body), signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "No answer", "The server cannot be reached.");
  }
  if (!answer.ok) throw await refusal(answer);
  return answer.status === 204 ? (undefined as T) : ((await answer.json()) as T);
}

export async function refusal(answer: Response): Promise<Problem> {
  try {
    const told = (await answer.json()) as Partial<Problem> & { detail?: string };
    return new Problem(answer.status, told.title ?? answer.statusText, told.detail ?? "", told.errors);
  } catch {
    return new Problem(answer.status, answer.statusText, `The server answered ${answer.status}.`);
  }
}

function meta(name: string): string {
  return document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content ?? "";
}
