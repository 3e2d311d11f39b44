/** The next block of stderr in a log, also where no line of it has been read yet. */

import type { LogWindow } from "../api/types.ts";

const STEP = 5000;
const MOST_STEPS = 40;

/** The first line of the block after (step 1) or before (step −1) line *n*; undefined when none is found. */
export async function blockFrom(
  n: number,
  step: 1 | -1,
  log: { first: number; total: number; read: (from: number, limit: number) => Promise<LogWindow> },
): Promise<number | undefined> {
  let at = n;
  for (let steps = 0; steps < MOST_STEPS; steps++) {
    const from = step === 1 ? at : Math.max(log.first, at - STEP);
    if (step === 1 ? from >= log.total - 1 : at <= log.first) return undefined;
    const { lines } = await log.read(from, step === 1 ? STEP : at - from);
    const begins = lines.flatMap((line, index) => {
      const isFirst = line.stream === "stderr" && lines[index - 1]?.stream !== "stderr";
      // Where a window begins within a block, the block began before it.
      return isFirst && (index > 0 || (step === -1 && from === log.first)) ? [line.n] : [];
    });
    const found = step === 1 ? begins.find((begin) => begin > n) : begins.findLast((begin) => begin < n);
    if (found !== undefined) return found;
    if (step === -1 && from === log.first) return undefined;
    at = step === 1 ? from + STEP - 1 : from + 1;
  }
  return undefined;
}
