/** What a page says to the frame around it: where it is, its title and state, and its keys. */

import { untrack } from "svelte";
import { type State, STATES } from "./words/states.ts";

export interface Crumb {
  text: string;
  path?: string;
}

export interface Key {
  /** As `KeyboardEvent.key` has it; a capital letter means shift. */
  key: string;
  does: string;
  act: (event: KeyboardEvent) => void;
}

class Frame {
  crumbs = $state.raw<Crumb[]>([]);
  /** Keys of the page and of parts of it, the last one first. */
  keys = $state.raw<Key[][]>([]);
  help = $state(false);
  palette = $state(false);

  /** Names the page, in the top line and in the browser's title; the icon takes the colour of a *state*. */
  show(crumbs: Crumb[], state?: State): void {
    this.crumbs = crumbs;
    const name = crumbs.at(-1)?.text ?? "";
    const mark = state && state !== "success" ? `${STATES[state].character} ` : "";
    document.title = `${mark}${name.startsWith("#") ? `${crumbs.at(-2)?.text ?? ""}${name}` : name} · Runfleet`;
    paint(state);
  }

  /** For as long as an effect lives: `$effect(() => frame.bind([...]))`. */
  bind(keys: Key[]): () => void {
    this.keys = [keys, ...untrack(() => this.keys)];
    return () => {
      this.keys = this.keys.filter((bound) => bound !== keys);
    };
  }

  press(event: KeyboardEvent): void {
    const key = this.keys.flat().find((bound) => bound.key === event.key);
    if (!key) return;
    event.preventDefault();
    key.act(event);
  }
}

export const frame = new Frame();

/** Neutral in both themes of a browser's tabs. */
const ICON_COLOURS = { muted: "#0b5cbf", accent: "#0b5cbf", warn: "#b57600", stop: "#7c52d6", bad: "#d62f3a", crash: "#c4307f" };

function paint(state: State | undefined): void {
  const icon = document.querySelector<HTMLLinkElement>("#favicon");
  if (!icon) return;
  const colour = ICON_COLOURS[state ? STATES[state].tone : "muted"];
  const drawn = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" fill="${colour}"/><path d="M4 4.5h5.5M4 8h8M4 11.5h4" stroke="#fff" stroke-width="1.8" stroke-linecap="round"/></svg>`;
  icon.href = `data:image/svg+xml,${encodeURIComponent(drawn)}`;
}
