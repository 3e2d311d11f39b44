import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";
import { finished } from "./finish.ts";

// Paths are relative, so that the same files work below any prefix; the server puts the root into index.html.
export default defineConfig({
  base: "./",
  plugins: [svelte({ configFile: false }), finished()],
  worker: { format: "es" },
  build: {
    outDir: "../built",
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { proxy: { "/api": process.env.RUNFLEET_URL ?? "http://localhost:9477" } },
});
