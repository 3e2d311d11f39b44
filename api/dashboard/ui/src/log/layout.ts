/** How a log is laid out: rows of each line, and marks of lines that were seen. Lines not seen yet count one row. */

import { Fenwick } from "./fenwick.ts";
import type { Line } from "./lines.ts";
import { plain, rowsOf } from "./wrap.ts";

export const STDERR = 1;
export const SYSTEM = 2;
export const SILENCE = 4;
export const SEEN = 8;
export const SILENCE_MS = 10_000;

type Stream = Line["stream"];

export class Layout {
  readonly rows = new Fenwick();
  /** Number of the line that is element 0 of everything here. */
  base = 0;
  wrap = false;
  columns = 120;
  hidden: ReadonlySet<Stream> = new Set();
  /** Only these lines are shown. */
  only: ReadonlySet<number> | undefined;
  /** The longest line seen, in characters, for how far there is to scroll sideways. */
  longest = 0;

  #marks = new Uint8Array(1024);

  /** Begin at line *first*, which cannot be moved later. */
  begin(first: number): void {
    if (this.rows.size === 0) this.base = first;
  }

  grow(total: number): void {
    const size = total - this.base;
    if (size > this.#marks.length) {
      const marks = new Uint8Array(Math.max(size, this.#marks.length * 2));
      marks.set(this.#marks);
      this.#marks = marks;
    }
    this.rows.grow(size, this.only ? 0 : 1);
  }

  /** A line came into memory; *before* is the one before it, if that is there too. */
  see(line: Line, before: Line | undefined): void {
    const at = line.n - this.base;
    if (at < 0) return;
    const silent = before !== undefined && line.at - before.at >= SILENCE_MS;
    const stream = line.stream === "stderr" ? STDERR : line.stream === "system" ? SYSTEM : 0;
    this.#marks[at] = SEEN | stream | (silent ? SILENCE : (this.#marks[at] ?? 0) & SILENCE);
    this.longest = Math.max(this.longest, line.text.length);
    this.rows.set(at, this.#rowsOf(line));
  }

  /** What the layout depends on has changed: every line is measured again, as far as it is in memory. */
  again(get: (n: number) => Line | undefined): void {
    this.rows.setAll((at) => {
      const line = get(at + this.base);
      return line ? this.#rowsOf(line) : this.#isShown(at) ? 1 : 0;
    });
  }

  /** Lines before *first* are gone. */
  drop(first: number): void {
    for (let at = Math.min(first - this.base, this.rows.size) - 1; at >= 0 && this.rows.get(at); at--) this.rows.set(at, 0);
  }

  marks(n: number): number {
    return this.#marks[n - this.base] ?? 0;
  }

  has(n: number, mark: number): boolean {
    return (this.marks(n) & mark) !== 0;
  }

  /** The nearest line after (or, backwards, before) *n* at which a block of stderr begins. */
  stderrFrom(n: number, step: 1 | -1): number | undefined {
    for (let at = n + step - this.base; at >= 0 && at < this.rows.size; at += step) {
      const begins = (this.#marks[at] ?? 0) & STDERR && !((this.#marks[at - 1] ?? 0) & STDERR);
      if (begins) return at + this.base;
    }
    return undefined;
  }

  #rowsOf(line: Line): number {
    const at = line.n - this.base;
    if (!this.#isShown(at)) return 0;
    const rule = this.has(line.n, SILENCE) ? 1 : 0;
    return rule + (this.wrap ? rowsOf(plain(line.text), this.columns) : 1);
  }

  #isShown(at: number): boolean {
    if (this.only) return this.only.has(at + this.base);
    const marks = this.#marks[at] ?? 0;
    if (!(marks & SEEN) || !this.hidden.size) return true;
    return !this.hidden.has(marks & STDERR ? "stderr" : marks & SYSTEM ? "system" : "stdout");
  }
}
