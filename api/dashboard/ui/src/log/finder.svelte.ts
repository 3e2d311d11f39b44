/** The find bar's business: what is wanted, where it is, and which hit is the one looked at. */

import { get, has } from "../api/client.ts";
import type { Found } from "../api/types.ts";
import { fromServer, type Hit, hitsIn, matcher, MOST_HITS, nearest, searchHere } from "./find.ts";
import type { Line } from "./lines.ts";
import type { Viewer } from "./viewer.svelte.ts";

const TYPING_MS = 200;
const CALL = "/api/runs/{id}/log/find";

export class Finder {
  open = $state(false);
  text = $state("");
  regex = $state(false);
  case = $state(false);
  /** Only lines with a hit, and so many around them; -1: all lines. */
  context = $state(-1);
  hits = $state.raw<Hit[]>([]);
  total = $state(0);
  at = $state(-1);
  busy = $state(false);
  /** Why nothing is searched, or what was not. */
  note = $state("");
  pattern = $state.raw<RegExp>();

  #viewer: Viewer;
  #round = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(viewer: Viewer) {
    this.#viewer = viewer;
    viewer.onLater = (found) => this.#later(found);
  }

  get current(): Hit | undefined {
    return this.hits[this.at];
  }

  /** Whether this server can search, so that not all of a log has to come here. */
  get onServer(): boolean {
    return has(CALL);
  }

  /** Search for what is in the fields, once the typing pauses. */
  search(wait = TYPING_MS): void {
    clearTimeout(this.#timer);
    const round = ++this.#round;
    this.#timer = setTimeout(() => void this.#search(round), wait);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#round++;
    this.open = false;
    this.text = "";
    this.#clear();
    this.filter(-1);
  }

  next(step: 1 | -1): void {
    if (!this.hits.length) return;
    this.at = (this.at + step + this.hits.length) % this.hits.length;
    this.#show();
  }

  /** Show only lines with a hit, and *context* around each. */
  filter(context: number): void {
    this.context = context;
    const { layout } = this.#viewer;
    if (context < 0 || !this.hits.length) {
      if (!layout.only) return;
      layout.only = undefined;
    } else {
      const shown = new Set<number>();
      for (const { n } of this.hits) for (let near = n - context; near <= n + context; near++) shown.add(near);
      layout.only = shown;
    }
    this.#viewer.layOut();
    if (this.current) this.#show();
  }

  #clear(): void {
    this.hits = [];
    this.total = 0;
    this.at = -1;
    this.busy = false;
    this.note = "";
    this.pattern = undefined;
  }

  async #search(round: number): Promise<void> {
    const { lines } = this.#viewer;
    this.#clear();
    if (!this.text) return this.filter(this.context);
    const wanted = { text: this.text, regex: this.regex, case: this.case };
    const pattern = matcher(wanted);
    if (!pattern) {
      this.note = "not a regular expression";
      return;
    }
    this.pattern = pattern;
    this.busy = true;
    const from = this.#viewer.anchor.n;
    const isCurrent = () => round === this.#round;
    try {
      if (this.onServer) {
        const found = await get<Found>(`/api/runs/${this.#viewer.id}/log/find`, { q: wanted.text, regex: wanted.regex, case: wanted.case });
        if (isCurrent()) this.#add(fromServer(found), from, found.total);
      } else {
        await searchHere(pattern, lines.first, (start, limit) => this.#viewer.read(start, limit), (hits, scanned) => {
          if (!isCurrent()) return false;
          this.note = scanned < lines.total ? `${Math.round((scanned / lines.total) * 100)} %` : "";
          this.#add(hits, from);
          return this.hits.length < MOST_HITS;
        });
      }
    } catch (error) {
      if (isCurrent()) this.note = error instanceof Error ? error.message : "";
    } finally {
      if (isCurrent()) this.busy = false;
    }
    if (!isCurrent()) return;
    if (this.at < 0 && this.hits.length) {
      this.at = nearest(this.hits, from);
      this.#show();
    }
    if (this.context >= 0) this.filter(this.context);
  }

  #add(hits: Hit[], from: number, total?: number): void {
    if (hits.length) this.hits = [...this.hits, ...hits];
    this.total = total ?? this.hits.length;
    if (this.at >= 0 || !this.hits.length) return;
    // While more may come, wait for one below the view; the last one above it is second best.
    const below = nearest(this.hits, from);
    if ((this.hits[below]?.n ?? -1) >= from || !this.busy || total !== undefined) {
      this.at = below;
      this.#show();
    }
  }

  #later(found: Line[]): void {
    if (!this.pattern) return;
    const hits = found.flatMap((line) => hitsIn(line.text, this.pattern ?? /$^/g).map(([from, to]) => ({ n: line.n, from, to })));
    if (!hits.length) return;
    this.hits = [...this.hits, ...hits];
    this.total += hits.length;
  }

  #show(): void {
    const hit = this.current;
    if (hit) this.#viewer.show(hit.n);
  }
}
