/** One log on the screen: its lines, their layout, the stream that brings more, and where the reader is. */

import { address, get, Problem } from "../api/client.ts";
import type { LogLine, LogWindow } from "../api/types.ts";
import type { Message } from "../live/sse.ts";
import { Stream } from "../live/sse.ts";
import { Layout } from "./layout.ts";
import { type Line, Lines } from "./lines.ts";
import type { Range } from "./marks.ts";
import { ROW } from "./scroll.ts";
import type { Times } from "./timecolumn.ts";

const DRAW_MS = 100;

export class Viewer {
  readonly id: string;
  readonly lines: Lines;
  readonly layout = new Layout();

  /** Grows when there is something to draw, ten times a second at most. */
  version = $state(0);
  opened = $state(false);
  problem = $state.raw<Problem>();
  /** The stream is open, or will be again. */
  live = $state(false);
  /** The view keeps to the end, whatever is added there or laid out anew. */
  follow = $state(false);
  /** How many lines there were when following ended. */
  leftAt = $state(0);
  wrap = $state(false);
  times = $state<Times>("off");
  hidden = $state.raw<ReadonlySet<Line["stream"]>>(new Set());
  chosen = $state.raw<Range>();
  /** The line at the top of the view, and how far it is scrolled out of it. */
  anchor = $state.raw({ n: 0, offset: 0 });
  /** Rows that the view holds. */
  viewRows = $state(30);

  /** Called with lines that came after the log was opened. */
  onLater: ((found: Line[]) => void) | undefined;
  onDone: (() => void) | undefined;

  #stream: Stream | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #drawnAt = 0;
  #streamed = false;
  #closed = false;

  constructor(id: string) {
    this.id = id;
    this.lines = new Lines((from, limit) => this.read(from, limit), {
      lines: (found) => this.#see(found),
      bounds: () => this.changed(),
      failed: (error) => (this.problem = error instanceof Problem ? error : undefined),
    });
  }

  // What is drawn is read through these, so that it is drawn again when the version grows.

  get total(): number {
    void this.version;
    return this.lines.total;
  }

  get first(): number {
    void this.version;
    return this.lines.first;
  }

  /** Rows above the first line, for the note that lines before it are gone. */
  get lead(): number {
    return this.first > 0 ? 2 : 0;
  }

  /** All rows, those of the note and of lines without an end among them. */
  get rows(): number {
    return this.lead + this.layout.rows.total + this.unfinished.length;
  }

  get unfinished(): { stream: string; text: string }[] {
    void this.version;
    return [...this.lines.unfinished];
  }

  line(n: number): Line | undefined {
    void this.version;
    return this.lines.get(n);
  }

  rowsOf(n: number): number {
    void this.version;
    return this.layout.rows.get(n - this.layout.base);
  }

  read(from: number, limit: number): Promise<LogWindow> {
    return get<LogWindow>(`/api/runs/${this.id}/log`, { from, limit });
  }

  /** Opens at the end, or at *at*; a failed run's last words on stderr come into view. */
  async open(at: Range | undefined, { failed = false } = {}): Promise<void> {
    this.problem = undefined;
    try {
      await this.lines.open(at?.from);
    } catch (error) {
      this.problem = error instanceof Problem ? error : new Problem(0, "Error", String(error));
      return;
    }
    if (this.#closed) return;
    this.layout.begin(this.lines.first);
    this.layout.grow(this.lines.total);
    for (let n = this.lines.first; n < this.lines.total; n++) {
      const line = this.lines.get(n);
      if (line) this.layout.see(line, this.lines.get(n - 1));
    }
    this.chosen = at;
    this.live = !this.lines.finalized;
    const words = failed ? this.layout.stderrFrom(this.lines.total, -1) : undefined;
    this.follow = true;
    if (at) this.show(at.from);
    else if (words !== undefined && words < this.lines.total - this.viewRows) this.show(words);
    this.opened = true;
    this.changed();
    if (this.live) this.stream();
  }

  /** Follow what is written; again after the tab was hidden. */
  stream(): void {
    if (this.#stream || this.#closed || !this.live) return;
    const url = address(`/api/runs/${this.id}/log/stream`, { from: this.lines.total });
    this.#stream = new Stream(url, {
      messages: (found) => this.#take(found),
      open: () => undefined,
      refused: () => (this.live = false),
    });
  }

  pauseStream(): void {
    this.#stream?.close();
    this.#stream = undefined;
  }

  close(): void {
    this.#closed = true;
    this.pauseStream();
    clearTimeout(this.#timer);
  }

  /** Put line *n* a third down the view. */
  show(n: number): void {
    this.follow = false;
    this.leftAt = this.lines.total;
    const row = this.lead + this.layout.rows.before(n - this.layout.base);
    this.goTo(Math.max(0, row - Math.floor(this.viewRows / 3)) * ROW);
  }

  /** Put pixel *top* of the log at the top of the view. */
  goTo(top: number): void {
    const { rows, base } = this.layout;
    const most = Math.max(0, this.rows - this.viewRows) * ROW;
    const wanted = Math.max(0, Math.min(top, most + ROW)) - this.lead * ROW;
    const at = rows.find(Math.max(0, Math.floor(wanted / ROW)));
    this.anchor = { n: at + base, offset: wanted - rows.before(at) * ROW };
  }

  end(): void {
    this.follow = true;
  }

  /** The pixel of the log at the top of the view. */
  top(viewHeight: number): number {
    const { rows, base } = this.layout;
    const end = Math.max(0, this.rows * ROW - viewHeight);
    if (this.follow) return end;
    return Math.max(0, Math.min(end, (this.lead + rows.before(this.anchor.n - base)) * ROW + this.anchor.offset));
  }

  /** What lines take has changed: wrap, columns, what is hidden. */
  layOut(): void {
    this.layout.wrap = this.wrap;
    this.layout.hidden = this.hidden;
    this.layout.again((n) => this.lines.get(n));
    this.version++;
  }

  changed(): void {
    if (this.#timer !== undefined || !this.opened) return;
    const wait = Math.max(0, this.#drawnAt + DRAW_MS - Date.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#drawnAt = Date.now();
      this.version++;
    }, wait);
  }

  #see(found: Line[]): void {
    if (!this.opened) return;
    this.layout.grow(this.lines.total);
    for (const line of found) this.layout.see(line, this.lines.get(line.n - 1));
    const last = found.at(-1);
    const next = last && this.lines.get(last.n + 1);
    if (last && next) this.layout.see(next, last);
    if (this.#streamed && found.length) this.onLater?.(found);
    this.changed();
  }

  #take(found: Message[]): void {
    const lines: LogLine[] = [];
    for (const { type, data } of found) {
      if (type === "line") lines.push(JSON.parse(data) as LogLine);
      else if (type === "unfinished") {
        const begun = JSON.parse(data) as { stream: string; text: string };
        this.lines.begin(begun.stream, begun.text);
      } else if (type === "dropped") this.#drop((JSON.parse(data) as { to: number }).to + 1);
      else if (type === "truncated") this.#truncated(JSON.parse(data) as { first_available: number });
      else if (type === "done") this.#done();
    }
    if (!lines.length) return;
    this.#streamed = true;
    this.lines.append(lines);
    this.#streamed = false;
  }

  #truncated({ first_available: first }: { first_available: number }): void {
    this.lines.truncated = true;
    this.#drop(first);
  }

  #drop(first: number): void {
    this.layout.grow(first);
    this.layout.drop(first);
    this.lines.drop(first);
  }

  #done(): void {
    this.lines.finalized = true;
    this.lines.unfinished = [];
    this.live = false;
    this.pauseStream();
    this.changed();
    this.onDone?.();
  }
}
