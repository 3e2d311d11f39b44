/** What happens in the fleet, for every page: the mark, the time, and who wants to hear of events. */

import { root } from "../api/client.ts";
import { who } from "../api/session.svelte.ts";
import { connect } from "./connection.ts";
import type { FleetEvent, Mark, Told } from "./feed.ts";

type Listener = (events: FleetEvent[]) => void;

class Live {
  mark = $state<Mark>("reconnecting");
  since = $state(Date.now());
  /** Now, each second; it stands still while the data is stale. */
  now = $state(Date.now());

  #listeners = new Set<Listener>();
  #rereaders = new Set<() => void>();
  #started = false;

  start(): void {
    if (this.#started) return;
    this.#started = true;
    connect(root, (told) => this.#take(told));
    setInterval(() => {
      if (this.mark !== "stale" && !document.hidden) this.now = Date.now();
    }, 1000);
  }

  /** Calls *heard* with events as they come, and *reread* when some were missed. Returns how to stop that. */
  listen(heard: Listener, reread: () => void): () => void {
    this.#listeners.add(heard);
    this.#rereaders.add(reread);
    return () => {
      this.#listeners.delete(heard);
      this.#rereaders.delete(reread);
    };
  }

  #take(told: Told): void {
    if (told.kind === "events") for (const heard of this.#listeners) heard(told.events);
    else if (told.kind === "missed") for (const reread of this.#rereaders) reread();
    else if (told.kind === "refused") {
      if (told.status === 401) who.lost();
      this.mark = "stale";
    } else {
      this.mark = told.mark;
      this.since = told.since;
    }
  }
}

export const live = new Live();
