/** The queues that no worker serves, so that a run which waits in one is shown as such. */

import { get } from "../api/client.ts";
import type { Queue } from "../api/types.ts";
import { live } from "./live.svelte.ts";

const LATER_MS = 300; // after what the page itself asks for

class Unserved {
  names = $state.raw<ReadonlySet<string>>(new Set());
  #started = false;

  start(): void {
    if (this.#started) return;
    this.#started = true;
    const read = () => void this.#read();
    setTimeout(read, LATER_MS);
    live.listen((events) => events.some((event) => /^(worker|queue)\./.test(event.type)) && read(), read);
  }

  async #read(): Promise<void> {
    try {
      const { queues } = await get<{ queues: Queue[] }>("/api/queues");
      this.names = new Set(queues.filter((queue) => !queue.workers).map((queue) => queue.name));
    } catch {
      // The page says by itself that the server does not answer.
    }
  }
}

export const unserved = new Unserved();
