/** A task's parameters: from its definition to fields of a form, and from what was typed to values. */

import type { Param, Task } from "../api/types.ts";

export interface Field extends Param {
  name: string;
  kind: "text" | "number" | "switch" | "radios" | "list" | "json";
}

const MOST_RADIOS = 5;

export function fieldsOf(task: Task): Field[] {
  const params = (task.definition as { params?: Record<string, Param> }).params ?? {};
  return Object.entries(params).map(([name, param]) => ({ ...param, name, kind: kindOf(param) }));
}

function kindOf(param: Param): Field["kind"] {
  if (param.choices?.length) return param.choices.length <= MOST_RADIOS ? "radios" : "list";
  if (param.type === "bool") return "switch";
  if (param.type === "json") return "json";
  return param.type === "number" ? "number" : "text";
}

/** What a field begins with: what was asked for, else the default. */
export function firstText(field: Field, asked: string | null): string {
  if (asked !== null) return asked;
  return field.default === undefined ? "" : asText(field.default);
}

export function asText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** The values to send: those given, each of its type. What cannot be read is sent as it is, for the API to say why. */
export function valuesOf(fields: Field[], texts: Record<string, string>): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const field of fields) {
    const text = texts[field.name] ?? "";
    if (text === "" && !field.required) continue;
    values[field.name] = valueOf(field, text);
  }
  return values;
}

function valueOf(field: Field, text: string): unknown {
  const choice = field.choices?.find((one) => asText(one) === text);
  if (choice !== undefined) return choice;
  if (field.type === "bool") return text === "true";
  if (field.type === "number") return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  if (field.type !== "json") return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** Where a text stops being JSON; "" when it is. */
export function jsonProblem(text: string): string {
  if (!text.trim()) return "";
  try {
    JSON.parse(text);
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The address of the form, filled with a run's values. */
export function formPath(task: string, params: Record<string, unknown> | undefined): string {
  const query = new URLSearchParams(Object.entries(params ?? {}).map(([name, value]) => [name, asText(value)])).toString();
  return `/tasks/${task}/run${query ? `?${query}` : ""}`;
}
