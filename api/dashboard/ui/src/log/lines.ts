/**
 * The lines of a log that are in memory: windows of 500, read when they come into view, the farthest forgotten.
 *
 * Not reactive: a log may bring 2000 lines a second. *changed* says that there is something to look at.
 */

import type { LogLine, LogWindow } from "../api/types.ts";

export interface Line {
  n: number;
  at: number;
  stream: LogLine["stream"];
  text: string;
}

export type ReadWindow = (from: number, limit: number) => Promise<LogWindow>;

interface Changes {
  /** Lines that were not in memory before. */
  lines(found: Line[]): void;
  /** How many there are, the first that is kept, or whether one is loading. */
  bounds(): void;
  failed(error: unknown): void;
}

export const WINDOW = 500;
const TAIL = 200;
const MOST_WINDOWS = 40;
const AT_ONCE = 2;

export class Lines {
  /** The number of the first line that is kept, and one more than the last. */
  first = 0;
  total = 0;
  truncated = false;
  finalized = false;
  unfinished: { stream: string; text: string }[] = [];

  #read: ReadWindow;
  #changes: Changes;
  #windows = new Map<number, Line[]>();
  #loading = new Set<number>();
  #wanted: number[] = [];
  #middle = 0;

  constructor(read: ReadWindow, changes: Changes) {
    this.#read = read;
    this.#changes = changes;
  }

  /** The first look: at the end, or around line *at*. */
  async open(at?: number): Promise<void> {
    this.#take(await this.#read(at === undefined ? -TAIL : Math.max(0, at - TAIL / 2), TAIL));
  }

  get(n: number): Line | undefined {
    return this.#windows.get(Math.floor(n / WINDOW))?.[n % WINDOW];
  }

  /** Lines *from* to *to* are in view: what of them is not here is read. */
  want(from: number, to: number): void {
    this.#middle = (from + to) / 2;
    this.#wanted = [];
    const last = Math.min(to, this.total - 1);
    for (let n = Math.max(from, this.first); n <= last; n++) {
      if (this.get(n)) continue;
      const index = Math.floor(n / WINDOW);
      this.#wanted.push(index);
      n = index * WINDOW + WINDOW - 1;
    }
    this.#pump();
  }

  /** What the stream brought, in order. */
  append(found: LogLine[]): void {
    const lines = found.map(read);
    for (const line of lines) this.#put(line);
    const last = lines.at(-1);
    if (last) this.total = Math.max(this.total, last.n + 1);
    for (const line of lines) this.unfinished = this.unfinished.filter((begun) => begun.stream !== line.stream);
    this.#changes.lines(lines);
    this.#changes.bounds();
    this.#forget();
  }

  /** What a stream has begun and not ended; nothing takes it away. */
  begin(stream: string, text: string): void {
    this.unfinished = this.unfinished.filter((begun) => begun.stream !== stream);
    if (text) this.unfinished.push({ stream, text });
    this.#changes.bounds();
  }

  /** Lines before *first* are no longer kept. */
  drop(first: number): void {
    this.first = Math.max(this.first, first);
    this.total = Math.max(this.total, first);
    for (const index of this.#windows.keys()) if ((index + 1) * WINDOW <= this.first) this.#windows.delete(index);
    this.#changes.bounds();
  }

  #pump(): void {
    while (this.#loading.size < AT_ONCE) {
      const next = this.#wanted.find((index) => !this.#loading.has(index));
      if (next === undefined) return;
      this.#wanted = this.#wanted.filter((index) => index !== next);
      this.#loading.add(next);
      void this.#load(next);
    }
  }

  async #load(index: number): Promise<void> {
    try {
      this.#take(await this.#read(Math.max(index * WINDOW, this.first), WINDOW));
    } catch (error) {
      this.#changes.failed(error);
    } finally {
      this.#loading.delete(index);
    }
    this.#pump();
  }

  #take(window: LogWindow): void {
    const fresh = window.lines.map(read).filter((line) => this.get(line.n) === undefined);
    for (const line of fresh) this.#put(line);
    this.total = Math.max(this.total, window.total_lines);
    this.truncated ||= window.truncated;
    this.finalized ||= window.finalized;
    if (window.unfinished) this.unfinished = window.unfinished;
    this.drop(window.first_available);
    this.#changes.lines(fresh);
    this.#forget();
  }

  #put(line: Line): void {
    const index = Math.floor(line.n / WINDOW);
    let window = this.#windows.get(index);
    if (!window) this.#windows.set(index, (window = new Array<Line>(WINDOW)));
    window[line.n % WINDOW] = line;
  }

  #forget(): void {
    const middle = this.#middle / WINDOW;
    while (this.#windows.size > MOST_WINDOWS) {
      let farthest = -1;
      for (const index of this.#windows.keys()) {
        if (farthest < 0 || Math.abs(index - middle) > Math.abs(farthest - middle)) farthest = index;
      }
      this.#windows.delete(farthest);
    }
  }
}

export function read(line: LogLine): Line {
  return { n: line.n, at: Date.parse(line.at), stream: line.stream, text: line.text };
}
