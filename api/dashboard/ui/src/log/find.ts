/** Finding text in all of a log: on the server, or, where it cannot yet, by reading the log here. */

import type { Found, LogWindow } from "../api/types.ts";
import { plain } from "./wrap.ts";

export interface Wanted {
  text: string;
  regex: boolean;
  case: boolean;
}

export interface Hit {
  n: number;
  from: number;
  to: number;
}

export const MOST_HITS = 10_000;
const STEP = 5000;

/** Finds *wanted* in a line; undefined when it is no regular expression. */
export function matcher(wanted: Wanted): RegExp | undefined {
  const source = wanted.regex ? wanted.text : wanted.text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  try {
    return new RegExp(source, wanted.case ? "gu" : "giu");
  } catch {
    return undefined;
  }
}

/** Where *pattern* is in a line's text without colours; an empty match is none. */
export function hitsIn(text: string, pattern: RegExp): [number, number][] {
  const found: [number, number][] = [];
  for (const hit of plain(text).matchAll(pattern)) if (hit[0]) found.push([hit.index, hit.index + hit[0].length]);
  return found;
}

/** Reads the log from *first* on and tells hits as they are found, until *stop* says so. */
export async function searchHere(
  pattern: RegExp,
  first: number,
  read: (from: number, limit: number) => Promise<LogWindow>,
  tell: (hits: Hit[], scanned: number) => boolean,
): Promise<void> {
  for (let from = first; ; ) {
    const window = await read(from, STEP);
    const hits = window.lines.flatMap((line) => hitsIn(line.text, pattern).map(([start, end]) => ({ n: line.n, from: start, to: end })));
    const last = window.lines.at(-1);
    from = last ? last.n + 1 : window.total_lines;
    if (!tell(hits, from) || from >= window.total_lines) return;
  }
}

export function fromServer(found: Found): Hit[] {
  return found.hits.map(([n, from, to]) => ({ n, from, to }));
}

/** The first hit at or after line *n*, else the last one; -1 without any. */
export function nearest(hits: Hit[], n: number): number {
  const after = hits.findIndex((hit) => hit.n >= n);
  return after >= 0 ? after : hits.length - 1;
}
