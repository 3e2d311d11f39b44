/** Moments in the reader's zone. */

import { two } from "./durations.ts";

const DAY = 86_400_000;
const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export function ms(at: string): number {
  return Date.parse(at);
}

/** 06:31:02 */
export function clock(at: number): string {
  const date = new Date(at);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** 06:31:02.410 */
export function preciseClock(at: number): string {
  return `${clock(at)}.${String(new Date(at).getMilliseconds()).padStart(3, "0")}`;
}

/** The shortest that is clear at *now*: 06:30, yesterday 06:30, Mon 06:30, 3 Nov 06:30, 3 Nov 2025. */
export function when(at: number, now: number): string {
  const date = new Date(at);
  const time = `${two(date.getHours())}:${two(date.getMinutes())}`;
  const apart = Math.round((midnight(now) - midnight(at)) / DAY);
  if (apart === 0) return time;
  if (apart === 1) return `yesterday ${time}`;
  if (apart === -1) return `tomorrow ${time}`;
  if (Math.abs(apart) < 7) return `${WEEKDAYS[date.getDay()]} ${time}`;
  const day = `${date.getDate()} ${MONTHS[date.getMonth()]}`;
  return Math.abs(apart) < 300 ? `${day} ${time}` : `${day} ${date.getFullYear()}`;
}

/** All of it, for a title: Thu 26 Nov 2026, 06:31:02.410 */
export function inFull(at: number): string {
  const date = new Date(at);
  return `${WEEKDAYS[date.getDay()]} ${date.getDate()} ${MONTHS[date.getMonth()]} ${date.getFullYear()}, ${preciseClock(at)}`;
}

/** UTC, UTC+1, UTC−3:30 */
export function zone(at: number): string {
  const minutes = -new Date(at).getTimezoneOffset();
  if (minutes === 0) return "UTC";
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `UTC${minutes < 0 ? "−" : "+"}${hours}${rest ? `:${two(rest)}` : ""}`;
}

/** A schedule in words, with its zone where the reader's is another one and the words name a time of day. */
export function inZone(schedule: string, zone: string | undefined, readers = Intl.DateTimeFormat().resolvedOptions().timeZone): string {
  const its = zone || "UTC";
  const short = its.split("/").at(-1)?.replace("_", " ") ?? its;
  return schedule.includes(":") && its !== readers ? `${schedule}, ${short}` : schedule;
}

function midnight(at: number): number {
  return new Date(at).setHours(0, 0, 0, 0);
}
