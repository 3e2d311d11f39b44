/** Server-sent events by fetch: with the status of the answer, back-off with jitter, and resumption by Last-Event-ID. */

export interface Message {
  id: string;
  type: string;
  data: string;
}

/** Takes the text of a stream apart, however it is cut into pieces. */
export class Parser {
  #rest = "";
  #id = "";
  #type = "";
  #data: string[] = [];

  get lastId(): string {
    return this.#id;
  }

  push(text: string): Message[] {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    const found: Message[] = [];
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line !== "") this.#field(line);
      else if (this.#data.length || this.#type) {
        found.push({ id: this.#id, type: this.#type || "message", data: this.#data.join("\n") });
        this.#type = "";
        this.#data = [];
      }
    }
    return found;
  }

  #field(line: string): void {
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "id") this.#id = value;
    else if (name === "event") this.#type = value;
    else if (name === "data") this.#data.push(value);
  }
}

export interface Sink {
  /** What came at once, in order. */
  messages(found: Message[]): void;
  /** The stream is open, or it is not and will be tried again. */
  open(is: boolean): void;
  /** It was refused in a way that trying again does not mend; nothing follows. */
  refused(status: number): void;
}

const FIRST_MS = 500;
const LAST_MS = 15_000;
const SILENT_MS = 40_000; // the server says something each 15 s

/** How long to wait before try number *attempt*, from 0; *dice* is between 0 and 1. */
export function pause(attempt: number, dice: number): number {
  return Math.min(LAST_MS, FIRST_MS * 2 ** attempt) * (0.5 + dice / 2);
}

/** Follows one stream until it is closed. */
export class Stream {
  #url: string;
  #sink: Sink;
  #lastId = "";
  #attempt = 0;
  #closed = false;
  #abort = new AbortController();
  #wake: (() => void) | undefined;

  constructor(url: string, sink: Sink, lastId = "") {
    this.#url = url;
    this.#sink = sink;
    this.#lastId = lastId;
    void this.#run();
  }

  get lastId(): string {
    return this.#lastId;
  }

  /** Try again now: the machine is online again, or somebody looks. */
  hurry(): void {
    this.#attempt = 0;
    this.#wake?.();
  }

  close(): void {
    this.#closed = true;
    this.#abort.abort();
    this.#wake?.();
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      try {
        await this.#read();
      } catch {
        // Cut off, or never reached: the same cure.
      }
      if (this.#closed) return;
      this.#sink.open(false);
      await this.#wait(pause(this.#attempt++, Math.random()));
    }
  }

  async #read(): Promise<void> {
    this.#abort = new AbortController();
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (this.#lastId) headers["Last-Event-ID"] = this.#lastId;
    const answer = await fetch(this.#url, { headers, signal: this.#abort.signal, cache: "no-store" });
    if (!answer.ok || !answer.body) {
      if (![408, 429].includes(answer.status) && answer.status < 500) {
        this.close();
        this.#sink.refused(answer.status);
      }
      return;
    }
    this.#sink.open(true);
    this.#attempt = 0;
    const parser = new Parser();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let watch = setTimeout(() => this.#abort.abort(), SILENT_MS);
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done || this.#closed) return;
        clearTimeout(watch);
        watch = setTimeout(() => this.#abort.abort(), SILENT_MS);
        const found = parser.push(value);
        this.#lastId = parser.lastId || this.#lastId;
        if (found.length) this.#sink.messages(found);
      }
    } finally {
      clearTimeout(watch);
    }
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
