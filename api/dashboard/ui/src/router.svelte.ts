/** Where the reader is: path and filters below the root, as the browser's address says. */

import { tick } from "svelte";
import { root } from "./api/client.ts";

class Place {
  path = $state("");
  query = $state.raw(new URLSearchParams());
  hash = $state("");

  constructor() {
    this.#read();
    addEventListener("popstate", () => this.#read());
    addEventListener("hashchange", () => this.#read());
  }

  /** Go to *to*, which is below the root. *replace*: no new entry in the browser's history, for filters and redirects. */
  go(to: string, { replace = false } = {}): void {
    if (replace) history.replaceState(null, "", root + to);
    else history.pushState(null, "", root + to);
    const before = this.path;
    this.#read();
    if (this.path !== before) void tick().then(() => document.querySelector<HTMLElement>("main")?.focus({ preventScroll: true }));
  }

  /** Change filters in place; an empty value takes one away. */
  filter(changes: Record<string, string | undefined>): void {
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(changes)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    const text = query.toString();
    this.go(`${this.path}${text ? `?${text}` : ""}${this.hash}`, { replace: true });
  }

  /** Name a place in the page, without a jump. */
  point(hash: string): void {
    const query = this.query.toString();
    this.go(`${this.path}${query ? `?${query}` : ""}${hash}`, { replace: true });
  }

  #read(): void {
    const path = location.pathname;
    this.path = (path.startsWith(`${root}/`) ? path.slice(root.length) : path).replace(/(.)\/$/, "$1");
    if (location.search.slice(1) !== this.query.toString()) this.query = new URLSearchParams(location.search);
    this.hash = location.hash;
  }
}

export const place = new Place();

/** The address of *path* for a link. */
export function to(path: string): string {
  return root + path;
}

export function runPath(run: { task_name: string; number: number }): string {
  return `/tasks/${run.task_name}/${run.number}`;
}

/** Whether a key is meant for a field or a dialog, and not for the page. */
export function isTyping(event: KeyboardEvent): boolean {
  return event.target instanceof Element && event.target.closest("input, textarea, select, [contenteditable], dialog") !== null;
}

/** Links within the dashboard are followed without loading the page again. */
export function followLinks(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element).closest("a");
  if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  const path = link.pathname;
  if (!path.startsWith(`${root}/`) || path.startsWith(`${root}/api/`) || path === `${root}/docs`) return;
  event.preventDefault();
  place.go(path.slice(root.length) + link.search + link.hash);
}
