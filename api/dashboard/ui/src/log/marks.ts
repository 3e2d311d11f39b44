/** Places in a log: `#L120` and `#L120-140` in an address, counted from 1 as people do; ranges of numbers from 0. */

export interface Range {
  from: number;
  to: number;
}

export function fromHash(hash: string): Range | undefined {
  const found = /^#L(\d{1,12})(?:-L?(\d{1,12}))?$/.exec(hash);
  if (!found) return undefined;
  const one = Math.max(1, Number(found[1]));
  const other = Math.max(1, Number(found[2] ?? found[1]));
  return { from: Math.min(one, other) - 1, to: Math.max(one, other) - 1 };
}

export function toHash(range: Range): string {
  const tail = range.to > range.from ? `-${range.to + 1}` : "";
  return `#L${range.from + 1}${tail}`;
}

/** A click on a line's number; with shift it spans from the line chosen before. */
export function chosen(n: number, before: Range | undefined, shift: boolean): Range {
  if (!shift || !before) return { from: n, to: n };
  return n < before.from ? { from: n, to: before.to } : { from: before.from, to: n };
}
