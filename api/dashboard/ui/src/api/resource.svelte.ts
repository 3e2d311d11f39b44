/** Data of a page that is read, and read again: what came, what went wrong, whether it is under way. */

import { Problem } from "./client.ts";
import { who } from "./session.svelte.ts";

export class Resource<T> {
  data = $state.raw<T>();
  problem = $state.raw<Problem>();
  loading = $state(false);

  #read: (signal: AbortSignal) => Promise<T>;
  #abort: AbortController | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
  #readAt = 0;

  constructor(read: (signal: AbortSignal) => Promise<T>) {
    this.#read = read;
  }

  /** Reads it now; an earlier read that is still under way is given up. */
  async load(): Promise<void> {
    this.#abort?.abort();
    const abort = (this.#abort = new AbortController());
    this.loading = true;
    this.#readAt = Date.now();
    try {
      const data = await this.#read(abort.signal);
      if (abort.signal.aborted) return;
      this.data = data;
      this.problem = undefined;
    } catch (error) {
      if (abort.signal.aborted) return;
      this.problem = error instanceof Problem ? error : new Problem(0, "Error", String(error));
      if (this.problem.status === 401) who.lost();
    } finally {
      if (!abort.signal.aborted) this.loading = false;
    }
  }

  /** Reads it again soon; many wishes within *apart* ms are one. */
  refresh(apart = 1000): void {
    if (this.#again !== undefined) return;
    const wait = Math.max(0, this.#readAt + apart - Date.now());
    this.#again = setTimeout(() => {
      this.#again = undefined;
      void this.load();
    }, wait);
  }

  /** Another thing is wanted: what is shown is of no use. */
  reset(): void {
    this.data = undefined;
    this.problem = undefined;
  }

  close(): void {
    this.#abort?.abort();
    clearTimeout(this.#again);
  }
}
