/** A tab's way to the fleet's events: by the SharedWorker, or by a stream of its own where there is none. */

import { Feed, type Told } from "./feed.ts";
import type { Said } from "./shared.ts";
import url from "./shared.ts?sharedworker&url";

const ANSWER_MS = 2000;
const PING_MS = 10_000;

/** `trustedTypes`, as far as it is used here; TypeScript does not know it yet. */
interface Policies {
  createPolicy(name: string, rules: { createScriptURL(text: string): string }): { createScriptURL(text: string): string };
}

export function connect(root: string, tell: (told: Told) => void): void {
  if (typeof SharedWorker === "undefined") return alone(root, tell);
  let answered = false;
  let settled = false;
  const worker = new SharedWorker(trusted(new URL(url, import.meta.url).href), { type: "module", name: "runfleet" });
  const say = (said: Said) => worker.port.postMessage(said);
  const giveUp = () => {
    if (settled) return;
    settled = true;
    if (!answered) {
      say({ kind: "bye" });
      alone(root, tell);
    }
  };
  worker.onerror = giveUp;
  setTimeout(giveUp, ANSWER_MS);
  worker.port.onmessage = ({ data }: MessageEvent<Told>) => {
    if (settled && !answered) return;
    answered = true;
    tell(data);
  };
  say({ kind: "hello", root });
  setInterval(() => say({ kind: "ping" }), PING_MS);
  addEventListener("pagehide", () => say({ kind: "bye" }));
  addEventListener("pageshow", (event) => event.persisted && say({ kind: "hello", root }));
  addEventListener("focus", () => say({ kind: "hurry" }));
}

/** One stream for this tab, closed while nobody sees it. */
function alone(root: string, tell: (told: Told) => void): void {
  let feed: Feed | undefined;
  let lastId = "";
  const look = () => {
    if (document.hidden && feed) {
      lastId = feed.lastId;
      feed.close();
      feed = undefined;
    } else if (!document.hidden) feed ??= new Feed(root, tell, lastId);
  };
  look();
  document.addEventListener("visibilitychange", look);
  addEventListener("online", () => feed?.hurry());
  addEventListener("focus", () => feed?.hurry());
}

/** The page's policy takes no script's address as text; this one passes our worker's and nothing else. */
function trusted(wanted: string): string {
  const policies = (globalThis as { trustedTypes?: Policies }).trustedTypes;
  if (!policies) return wanted;
  const policy = policies.createPolicy("runfleet-worker", {
    createScriptURL: (text) => {
      if (text !== wanted) throw new TypeError(`not our worker: ${text}`);
      return text;
    },
  });
  return policy.createScriptURL(wanted);
}
