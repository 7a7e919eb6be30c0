import { readdir, readFile } from 'node:fs/promises';

/** Processor time and memory of a process with all its descendants. */
export type TreeWatch = {
  /** Seconds since the watch began, children that ended included. */
  cpuSeconds(): Promise<number>;
  /** Most resident memory of all of them together since the watch began, looked at ten times a second. */
  peakBytes(): number;
  stop(): void;
};

const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;
const LOOK_MS = 100;

export async function watchTree(root: number): Promise<TreeWatch> {
  const before = await cpuOf(root);
  let peak = 0;
  const look = async () => {
    const members = await membersOf(root);
    peak = Math.max(
      peak,
      members.reduce((sum, { pages }) => sum + pages * PAGE_BYTES, 0),
    );
  };
  await look();
  const timer = setInterval(() => void look(), LOOK_MS);
  return {
    cpuSeconds: async () => (await cpuOf(root)) - before,
    peakBytes: () => peak,
    stop: () => clearInterval(timer),
  };
}

type Member = { readonly pid: number; readonly parent: number; readonly ticks: number; readonly pages: number };

async function cpuOf(root: number): Promise<number> {
  const members = await membersOf(root);
  return members.reduce((sum, { ticks }) => sum + ticks, 0) / TICKS_PER_SECOND;
}

async function membersOf(root: number): Promise<Member[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const all = (await Promise.all(pids.map(readMember))).filter((member) => member !== undefined);
  const inside = new Set([root]);
  for (let grown = true; grown; ) {
    const more = all.filter(({ pid, parent }) => inside.has(parent) && !inside.has(pid));
    for (const { pid } of more) inside.add(pid);
    grown = more.length > 0;
  }
  return all.filter(({ pid }) => inside.has(pid));
}

/** Source: proc(5), /proc/pid/stat: 4 ppid, 14 to 17 utime, stime, cutime, cstime, 24 rss. */
async function readMember(pid: string): Promise<Member | undefined> {
  // It may end while we look.
  const text = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined);
  const words = text
    ?.slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  if (words === undefined) return undefined;
  const field = (number: number) => words[number - 3] ?? 0;
  return { pid: Number(pid), parent: field(4), ticks: field(14) + field(15) + field(16) + field(17), pages: field(24) };
}
