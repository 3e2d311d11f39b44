/** What somebody may mean who types a few letters: pages, tasks, runs. */

export interface Goal {
  text: string;
  kind: string;
  path: string;
}

const PAGES: Goal[] = [
  { text: "Overview", kind: "page", path: "/" },
  { text: "Tasks", kind: "page", path: "/tasks" },
  { text: "Runs", kind: "page", path: "/runs" },
  { text: "Failed runs", kind: "page", path: "/runs?status=failed,timeout,crashed,log_overflow" },
  { text: "Running now", kind: "page", path: "/runs?status=running" },
  { text: "Fleet", kind: "page", path: "/fleet" },
];
const MOST = 12;
const RUN = /^([\w.-]+)#(\d+)$/;
const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function goals(typed: string, tasks: string[]): Goal[] {
  const text = typed.trim();
  if (ID.test(text)) return [{ text, kind: "run", path: `/runs/${text}` }];
  const run = RUN.exec(text);
  if (run) return [{ text, kind: "run", path: `/tasks/${run[1]}/${run[2]}` }];
  const among: Goal[] = [...tasks.map((name) => ({ text: name, kind: "task", path: `/tasks/${name}` })), ...PAGES];
  if (!text) return [...PAGES, ...among.slice(0, MOST - PAGES.length).filter((goal) => goal.kind === "task")];
  return among
    .map((goal) => ({ goal, rank: rank(goal.text.toLowerCase(), text.toLowerCase()) }))
    .filter(({ rank }) => rank >= 0)
    .sort((a, b) => a.rank - b.rank)
    .slice(0, MOST)
    .map(({ goal }) => goal);
}

/** The smaller the better; -1 when the letters are not all there, in this order. */
function rank(name: string, letters: string): number {
  const whole = name.indexOf(letters);
  if (whole >= 0) return whole;
  let [at, gaps] = [0, 0];
  for (const letter of letters) {
    const next = name.indexOf(letter, at);
    if (next < 0) return -1;
    gaps += next - at;
    at = next + 1;
  }
  return 100 + gaps;
}
