/** A line's colours: the SGR codes that the worker lets through, as pieces of text with a look each. */

export interface Piece {
  text: string;
  /** Classes of base.css and LogLine. */
  look: string;
  /** A colour of 256 or 16 million, as CSS; "" for those of the theme. */
  colour: string;
  ground: string;
  link?: string;
}

interface Pen {
  colour: string;
  ground: string;
  bold: boolean;
  dim: boolean;
  italic: boolean;
  underline: boolean;
  inverse: boolean;
}

type Rgb = [number, number, number];

const CODE = /\x1b\[([0-9;:]*)m/g; // eslint-disable-line no-control-regex
const URL_ = /https?:\/\/[^\s"'<>`\\]*[^\s"'<>`\\.,;:!?)\]}]/g;
const CLEAN: Pen = { colour: "", ground: "", bold: false, dim: false, italic: false, underline: false, inverse: false };

/** The pieces of a line on a ground of *isDark*; colours too close to it are lifted until they can be read. */
export function pieces(text: string, isDark: boolean): Piece[] {
  const found: Piece[] = [];
  let pen = CLEAN;
  let at = 0;
  for (const code of text.matchAll(CODE)) {
    push(found, text.slice(at, code.index), pen, isDark);
    pen = applied(pen, code[1] ?? "");
    at = code.index + code[0].length;
  }
  push(found, text.slice(at), pen, isDark);
  return found;
}

function push(found: Piece[], text: string, pen: Pen, isDark: boolean): void {
  let at = 0;
  const add = (part: string, link?: string) => {
    if (part) found.push({ text: part, ...lookOf(pen, isDark), ...(link ? { link } : {}) });
  };
  if (text.includes("://")) {
    for (const url of text.matchAll(URL_)) {
      add(text.slice(at, url.index));
      add(url[0], url[0]);
      at = url.index + url[0].length;
    }
  }
  add(text.slice(at));
}

function lookOf(pen: Pen, isDark: boolean): Omit<Piece, "text"> {
  const looks = [];
  for (const name of ["bold", "dim", "italic", "underline", "inverse"] as const) if (pen[name]) looks.push(name);
  if (pen.colour.startsWith("a")) looks.push(`fg-${pen.colour.slice(1)}`);
  if (pen.ground.startsWith("a")) looks.push(`bg-${pen.ground.slice(1)}`);
  const ground = css(pen.ground);
  return { look: looks.join(" "), colour: ground ? css(pen.colour) : lifted(pen.colour, isDark), ground };
}

function applied(pen: Pen, codes: string): Pen {
  const next = { ...pen };
  const numbers = codes.split(/[;:]/).map(Number);
  for (let at = 0; at < numbers.length; at++) {
    const code = numbers[at] ?? 0;
    if (code === 0) Object.assign(next, CLEAN);
    else if (code === 1) next.bold = true;
    else if (code === 2) next.dim = true;
    else if (code === 3) next.italic = true;
    else if (code === 4) next.underline = true;
    else if (code === 7) next.inverse = true;
    else if (code === 22) next.bold = next.dim = false;
    else if (code === 23) next.italic = false;
    else if (code === 24) next.underline = false;
    else if (code === 27) next.inverse = false;
    else if (code === 39) next.colour = "";
    else if (code === 49) next.ground = "";
    else if (code >= 30 && code <= 37) next.colour = `a${code - 30}`;
    else if (code >= 40 && code <= 47) next.ground = `a${code - 40}`;
    else if (code >= 90 && code <= 97) next.colour = `a${code - 82}`;
    else if (code >= 100 && code <= 107) next.ground = `a${code - 92}`;
    else if (code === 38 || code === 48) {
      const [colour, used] = extended(numbers.slice(at + 1));
      next[code === 38 ? "colour" : "ground"] = colour;
      at += used;
    }
  }
  return next;
}

/** Of `5;n` or `2;r;g;b` the colour, and how many numbers it took. */
function extended(numbers: number[]): [string, number] {
  const [kind, a = 0, b = 0, c = 0] = numbers;
  if (kind === 2) return [`#${a},${b},${c}`, 4];
  if (kind !== 5) return ["", 1];
  if (a < 16) return [`a${a}`, 2];
  if (a > 231) return [`#${Array(3).fill((a - 232) * 10 + 8).join(",")}`, 2];
  const level = (step: number) => (step ? step * 40 + 55 : 0);
  const cube = a - 16;
  return [`#${level(Math.floor(cube / 36))},${level(Math.floor(cube / 6) % 6)},${level(cube % 6)}`, 2];
}

function rgb(colour: string): Rgb | undefined {
  if (!colour.startsWith("#")) return undefined;
  const [red = 0, green = 0, blue = 0] = colour.slice(1).split(",").map((part) => Math.min(255, Number(part)));
  return [red, green, blue];
}

function css(colour: string): string {
  const mixed = rgb(colour);
  return mixed ? `rgb(${mixed.join(" ")})` : "";
}

const WANTED = 4.5;
const GROUNDS: Record<"dark" | "light", Rgb> = { dark: [10, 12, 15], light: [238, 241, 244] }; // --sunken

function lifted(colour: string, isDark: boolean): string {
  let mixed = rgb(colour);
  if (!mixed) return "";
  const ground = GROUNDS[isDark ? "dark" : "light"];
  const towards = isDark ? 255 : 0;
  for (let step = 0; step < 20 && contrast(mixed, ground) < WANTED; step++) {
    mixed = mixed.map((part) => Math.round(part + (towards - part) * 0.12)) as Rgb;
  }
  return `rgb(${mixed.join(" ")})`;
}

/** As WCAG has it, from 1 to 21. */
export function contrast(one: Rgb, other: Rgb): number {
  const [a, b] = [luminance(one), luminance(other)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}

function luminance(colour: Rgb): number {
  const [red = 0, green = 0, blue = 0] = colour.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
