/** Spans of time as people write them: 0.02 s, 12 s, 2:31, 1:02:10, 3 d 4 h. */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How long something took. Rounds down, so that a limit is not reached before it is. */
export function duration(ms: number): string {
  if (ms < 5) return "0 s";
  if (ms < 100) return `${(ms / SECOND).toFixed(2)} s`;
  if (ms < 10 * SECOND) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)} s`;
  return ms < DAY ? clockwork(ms) : days(ms);
}

/** The same for something that goes on: whole seconds, so that nothing flickers. */
export function elapsed(ms: number): string {
  const whole = Math.max(0, Math.floor(ms / SECOND));
  if (whole < 60) return `${whole} s`;
  return ms < DAY ? clockwork(ms) : days(ms);
}

/** How far away a moment is: 41 s, 12 min, 4 h, 3 d. One unit, for the eye. */
export function roughly(ms: number): string {
  const away = Math.abs(ms);
  if (away < MINUTE) return `${Math.floor(away / SECOND)} s`;
  if (away < HOUR) return `${Math.floor(away / MINUTE)} min`;
  if (away < 2 * DAY) return `${Math.floor(away / HOUR)} h`;
  return `${Math.floor(away / DAY)} d`;
}

export function ago(ms: number): string {
  return ms < SECOND ? "now" : `${roughly(ms)} ago`;
}

/** A countdown: in 0:41 within the hour, in 4 h beyond it. */
export function until(ms: number): string {
  if (ms <= 0) return "now";
  return ms < HOUR ? `in ${clockwork(ms)}` : `in ${roughly(ms)}`;
}

/** 2:31 or 1:02:10. */
function clockwork(ms: number): string {
  const whole = Math.floor(ms / SECOND);
  const [hours, minutes, seconds] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = `${hours ? two(minutes) : minutes}:${two(seconds)}`;
  return hours ? `${hours}:${tail}` : tail;
}

function days(ms: number): string {
  const hours = Math.floor((ms % DAY) / HOUR);
  return `${Math.floor(ms / DAY)} d${hours ? ` ${hours} h` : ""}`;
}

/** A number in groups of three, with thin spaces. */
export function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

export function bytes(value: number): string {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]] as const) {
    if (value >= size) return `${(value / size).toFixed(value >= 10 * size ? 0 : 1)} ${unit}`;
  }
  return `${value} B`;
}

/** *1 line*, *3 lines*. */
export function many(value: number, word: string, plural = `${word}s`): string {
  return `${count(value)} ${value === 1 ? word : plural}`;
}

export function two(value: number): string {
  return String(value).padStart(2, "0");
}
