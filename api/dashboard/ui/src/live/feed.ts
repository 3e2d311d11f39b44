/** The fleet's events from one stream, told to those who listen: a tab by itself, or all tabs of a browser. */

import { type Message, Stream } from "./sse.ts";

export interface FleetEvent {
  type: string;
  at: string;
  task?: string;
  run_id?: string;
  execution_id?: string;
  data?: string;
}

/** live: what is shown is so. reconnecting: for 2 s it has not been. stale: for 10 s. */
export type Mark = "live" | "reconnecting" | "stale";

export type Told =
  | { kind: "events"; events: FleetEvent[] }
  | { kind: "mark"; mark: Mark; since: number }
  /** Events were missed: what is shown has to be read again. */
  | { kind: "missed" }
  | { kind: "refused"; status: number };

const GATHER_MS = 250;
const RECONNECTING_MS = 2000;
const STALE_MS = 10_000;
const MISSED_MS = 30_000;

export class Feed {
  #tell: (told: Told) => void;
  #stream: Stream;
  #gathered: FleetEvent[] = [];
  #timers: ReturnType<typeof setTimeout>[] = [];
  #lostAt = 0;
  #last: Told = { kind: "mark", mark: "reconnecting", since: Date.now() };

  constructor(root: string, tell: (told: Told) => void, lastId = "") {
    this.#tell = tell;
    this.#stream = new Stream(
      `${root}/api/events/stream`,
      {
        messages: (found) => this.#take(found),
        open: (is) => (is ? this.#opened() : this.#lost()),
        refused: (status) => this.#say({ kind: "refused", status }),
      },
      lastId,
    );
  }

  get lastId(): string {
    return this.#stream.lastId;
  }

  /** The mark, or the refusal, for one who comes later. */
  get last(): Told {
    return this.#last;
  }

  hurry(): void {
    this.#stream.hurry();
  }

  close(): void {
    this.#stream.close();
    this.#forget();
  }

  #take(found: Message[]): void {
    if (found.some((message) => message.type === "dropped")) this.#tell({ kind: "missed" });
    const events = found.filter((message) => message.type.includes(".")).map((message) => JSON.parse(message.data) as FleetEvent);
    if (!events.length) return;
    if (!this.#gathered.length) {
      setTimeout(() => {
        const all = this.#gathered;
        this.#gathered = [];
        this.#tell({ kind: "events", events: all });
      }, GATHER_MS);
    }
    this.#gathered.push(...events);
  }

  #opened(): void {
    if (this.#lostAt && Date.now() - this.#lostAt > MISSED_MS) this.#tell({ kind: "missed" });
    this.#forget();
    this.#say({ kind: "mark", mark: "live", since: Date.now() });
  }

  #lost(): void {
    if (this.#lostAt) return;
    const since = (this.#lostAt = Date.now());
    this.#timers = [
      setTimeout(() => this.#say({ kind: "mark", mark: "reconnecting", since }), RECONNECTING_MS),
      setTimeout(() => this.#say({ kind: "mark", mark: "stale", since }), STALE_MS),
    ];
  }

  #say(told: Told): void {
    this.#last = told;
    this.#tell(told);
  }

  #forget(): void {
    this.#timers.forEach(clearTimeout);
    this.#lostAt = 0;
  }
}
