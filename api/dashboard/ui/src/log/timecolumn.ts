/** The column of times beside a log's lines. */

import { preciseClock } from "../words/times.ts";
import type { Line } from "./lines.ts";

export type Times = "off" | "clock" | "start" | "step";

/** In characters. */
export const TIME_WIDTHS: Record<Times, number> = { off: 0, clock: 14, start: 12, step: 10 };
export const TIME_NAMES: Record<Times, string> = { off: "no times", clock: "clock", start: "since start", step: "since the line before" };
export const TIME_ORDER: Times[] = ["off", "clock", "start", "step"];

export function timeOf(times: Times, line: Line, before: Line | undefined, startAt: number): string {
  if (times === "clock") return preciseClock(line.at);
  if (times === "start") return spanned(line.at - startAt).padStart(10);
  if (times === "step" && before) return line.at === before.at ? "" : spanned(line.at - before.at).padStart(8);
  return "";
}

/** 12.345, 2:31.004, 1:02:10.5 */
function spanned(ms: number): string {
  const whole = Math.max(0, ms);
  const seconds = (whole / 1000) % 60;
  const [minutes, hours] = [Math.floor(whole / 60_000) % 60, Math.floor(whole / 3_600_000)];
  if (hours) return `${hours}:${String(minutes).padStart(2, "0")}:${seconds.toFixed(1).padStart(4, "0")}`;
  return minutes ? `${minutes}:${seconds.toFixed(3).padStart(6, "0")}` : seconds.toFixed(3);
}
