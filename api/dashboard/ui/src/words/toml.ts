/** A definition as the task file would write it. */

import { asText } from "./params.ts";

export function toml(name: string, definition: Record<string, unknown>): string {
  const { name: _, ...keys } = definition;
  const plain = Object.entries(keys).filter(([, value]) => !isTable(value));
  const tables = Object.entries(keys).filter(([, value]) => isTable(value)) as [string, Record<string, unknown>][];
  return table(`tasks.${name}`, plain, tables).join("\n");
}

function table(name: string, plain: [string, unknown][], tables: [string, Record<string, unknown>][]): string[] {
  const lines = [`[${name}]`, ...plain.map(([key, value]) => `${key} = ${literal(value)}`)];
  for (const [key, values] of tables) {
    const entries = Object.entries(values);
    const inner = entries.filter(([, value]) => isTable(value)) as [string, Record<string, unknown>][];
    if (inner.length) for (const [below, those] of inner) lines.push("", ...table(`${name}.${key}.${below}`, Object.entries(those), []));
    else lines.push("", ...table(`${name}.${key}`, entries, []));
  }
  return lines;
}

function literal(value: unknown): string {
  if (typeof value === "string" && value.includes("\n")) return `'''\n${value}'''`;
  if (typeof value === "string" && value.includes("\\")) return `'${value}'`;
  return typeof value === "string" ? JSON.stringify(value) : asText(value);
}

function isTable(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
