/** Dark, light, or as the system is; kept in this browser. `theme.js` sets it before the first paint. */

export type Theme = "system" | "dark" | "light";

const NEXT: Record<Theme, Theme> = { system: "dark", dark: "light", light: "system" };
const system = matchMedia("(prefers-color-scheme: dark)");

class Themes {
  chosen = $state<Theme>((document.documentElement.dataset.theme as Theme | undefined) ?? "system");
  #systemIsDark = $state(system.matches);

  constructor() {
    system.addEventListener("change", () => (this.#systemIsDark = system.matches));
  }

  get isDark(): boolean {
    return this.chosen === "system" ? this.#systemIsDark : this.chosen === "dark";
  }

  next(): void {
    this.chosen = NEXT[this.chosen];
    const element = document.documentElement;
    if (this.chosen === "system") delete element.dataset.theme;
    else element.dataset.theme = this.chosen;
    keep("runfleet.theme", this.chosen === "system" ? undefined : this.chosen);
  }
}

export const theme = new Themes();

/** Storage may be forbidden; then nothing is kept. */
export function keep(name: string, value: string | undefined): void {
  try {
    if (value === undefined) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch {
    // Not kept.
  }
}

export function kept(name: string): string | undefined {
  try {
    return localStorage.getItem(name) ?? undefined;
  } catch {
    return undefined;
  }
}
