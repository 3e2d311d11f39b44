/** Every page and its address, below the root. Start here. */

import type { Component } from "svelte";

export interface Route {
  path: string;
  /** The place in the rail that is lit. */
  section: Section;
  page: () => Promise<{ default: Component<PageProps> }>;
}

export type Section = "overview" | "tasks" | "runs" | "fleet" | "none";

export interface PageProps {
  params: Record<string, string>;
}

export const routes: Route[] = [
  { path: "/", section: "overview", page: () => import("./pages/Overview.svelte") },
  { path: "/tasks", section: "tasks", page: () => import("./pages/Tasks.svelte") },
  { path: "/tasks/{name}", section: "tasks", page: () => import("./pages/Task.svelte") },
  { path: "/tasks/{name}/run", section: "tasks", page: () => import("./pages/Start.svelte") },
  { path: "/tasks/{name}/{number}", section: "tasks", page: () => import("./pages/Run.svelte") },
  { path: "/runs", section: "runs", page: () => import("./pages/Runs.svelte") },
  { path: "/runs/{id}", section: "runs", page: () => import("./pages/Run.svelte") },
  { path: "/fleet", section: "fleet", page: () => import("./pages/Fleet.svelte") },
];

export interface Match {
  route: Route;
  params: Record<string, string>;
}

/** The page at *path*; an exact part wins over a named one, since it stands first. */
export function match(path: string, among: Route[] = routes): Match | undefined {
  const parts = path.split("/");
  for (const route of among) {
    const wanted = route.path.split("/");
    if (wanted.length !== parts.length) continue;
    const params: Record<string, string> = {};
    const fits = wanted.every((part, at) => {
      const given = parts[at] ?? "";
      if (!part.startsWith("{")) return part === given;
      params[part.slice(1, -1)] = decodeURIComponent(given);
      return given !== "";
    });
    if (fits) return { route, params };
  }
  return undefined;
}
