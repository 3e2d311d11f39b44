/** The SharedWorker: one stream of events for all tabs of a browser, since HTTP/1.1 allows six connections a host. */

import { Feed, type Told } from "./feed.ts";

/** What a tab says. */
export type Said = { kind: "hello"; root: string } | { kind: "ping" } | { kind: "hurry" } | { kind: "bye" };

const SILENT_MS = 30_000; // a tab pings each 10 s

const ports = new Map<MessagePort, number>();
let feed: Feed | undefined;
let lastId = "";

addEventListener("connect", (event) => {
  const port = (event as MessageEvent).ports[0];
  if (!port) return;
  port.onmessage = ({ data }: MessageEvent<Said>) => hear(port, data);
});

function hear(port: MessagePort, said: Said): void {
  if (said.kind === "bye") return drop(port);
  ports.set(port, Date.now());
  if (said.kind === "hurry") feed?.hurry();
  if (said.kind !== "hello") return;
  if (feed?.last.kind === "refused") {
    feed.close(); // somebody has signed in since, perhaps
    feed = undefined;
  }
  feed ??= new Feed(said.root, tellAll, lastId);
  port.postMessage(feed.last);
}

function tellAll(told: Told): void {
  for (const port of ports.keys()) port.postMessage(told);
}

function drop(port: MessagePort): void {
  ports.delete(port);
  if (ports.size || !feed) return;
  feed.close();
  feed = undefined;
  lastId = "";
}

setInterval(() => {
  for (const [port, at] of ports) if (Date.now() - at > SILENT_MS) drop(port);
}, 10_000);
addEventListener("online", () => feed?.hurry());
