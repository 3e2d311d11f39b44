/** From a scroll bar's pixels to rows and back: browsers end at 17 to 33 million pixels, logs do not. */

export const ROW = 20;
export const MOST_PX = 800_000 * ROW;

export interface Scale {
  /** How high the scrolled element is. */
  height: number;
  /** The pixel of the log at the top of the view, of the scroll bar's. */
  toLog(top: number): number;
  toBar(y: number): number;
}

export function scale(rows: number, view: number, most = MOST_PX): Scale {
  const whole = rows * ROW;
  const height = Math.min(whole, most);
  const factor = whole > height && height > view ? (whole - view) / (height - view) : 1;
  return { height, toLog: (top) => top * factor, toBar: (y) => y / factor };
}
