/** After a build: a .gz beside each file, and SOURCE, the digest of what it was built from. */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";

const HERE = import.meta.dirname;
const OS_BYTE = 9; // where gzip names the system that packed; 255 is "unknown", the same everywhere

export function finished(): Plugin {
  return {
    name: "finished",
    apply: "build",
    closeBundle() {
      const built = join(HERE, "../built");
      for (const path of files(built)) {
        const packed = gzipSync(readFileSync(join(built, path)), { level: 9 });
        packed[OS_BYTE] = 255;
        writeFileSync(join(built, `${path}.gz`), packed);
      }
      writeFileSync(join(built, "SOURCE"), digest());
    },
  };
}

/** One line a file, as `sha256sum` writes it, by path; and the digest of these lines. A test in Python does the same. */
function digest(): string {
  const lines = files(HERE).map((path) => `${sha256(readFileSync(join(HERE, path)))}  ${path}\n`);
  return `${sha256(lines.join(""))}\n`;
}

function sha256(bytes: string | Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function files(folder: string, below = ""): string[] {
  const found: string[] = [];
  for (const name of readdirSync(join(folder, below))) {
    const path = below ? `${below}/${name}` : name;
    if (name === "node_modules") continue;
    if (statSync(join(folder, path)).isDirectory()) found.push(...files(folder, path));
    else found.push(path);
  }
  return below ? found : found.sort((a, b) => (a < b ? -1 : 1));
}
