/** How many rows a line of text takes: arithmetic instead of measuring, since the log is in one size of one font. */

const TAB = 8;
const COLOUR = /\x1b\[[0-9;:]*m/g; // eslint-disable-line no-control-regex

/** Characters that take two cells: East Asian wide ones, and emoji. */
const WIDE: [number, number][] = [
  [0x1100, 0x115f], [0x231a, 0x231b], [0x2329, 0x232a], [0x23e9, 0x23ec], [0x2614, 0x2615], [0x26aa, 0x26ab],
  [0x26bd, 0x26be], [0x2705, 0x2705], [0x270a, 0x270b], [0x274c, 0x274c], [0x2753, 0x2755], [0x2795, 0x2797],
  [0x2e80, 0x303e], [0x3041, 0x33ff], [0x3400, 0x4dbf], [0x4e00, 0x9fff], [0xa000, 0xa4cf], [0xa960, 0xa97f],
  [0xac00, 0xd7a3], [0xf900, 0xfaff], [0xfe30, 0xfe6f], [0xff00, 0xff60], [0xffe0, 0xffe6], [0x1f300, 0x1f64f],
  [0x1f680, 0x1f6ff], [0x1f900, 0x1f9ff], [0x20000, 0x3fffd],
];

/** A line without its colours. */
export function plain(text: string): string {
  return text.includes("\x1b") ? text.replace(COLOUR, "") : text;
}

/** How many cells *text* (without colours) takes in one row. */
export function cells(text: string): number {
  let at = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === 9) at += TAB - (at % TAB);
    else if (code < 0x300) at += 1;
    else {
      const point = text.codePointAt(index) ?? code;
      if (point > 0xffff) index++;
      at += width(point);
    }
  }
  return at;
}

/** Rows of *text* in so many columns; an empty line has one. */
export function rowsOf(text: string, columns: number): number {
  return Math.max(1, Math.ceil(cells(text) / Math.max(1, columns)));
}

function width(point: number): number {
  if ((point >= 0x300 && point <= 0x36f) || point === 0x200d || (point >= 0xfe00 && point <= 0xfe0f)) return 0;
  let [low, high] = [0, WIDE.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    const [first, last] = WIDE[middle] ?? [0, 0];
    if (point < first) high = middle - 1;
    else if (point > last) low = middle + 1;
    else return 2;
  }
  return 1;
}
