import { readFile } from 'node:fs/promises';

/** Most resident memory since the watch was made or `restart`ed: of each program, and of all together at one moment. */
export type Peaks = { readonly together: number; readonly programs: ReadonlyMap<string, number> };

export type MemoryWatch = {
  peaks(): Peaks;
  restart(): void;
  stop(): void;
};

const PAGE_BYTES = 4096;
const LOOK_MS = 100;

/** Watches a server with all its descendants, ten times a second. Programs are named by what runs; the server is `serve`. */
export function watchMemory(root: number): MemoryWatch {
  let together = 0;
  let programs = new Map<string, number>();
  const look = async () => {
    const now = new Map<string, number>();
    for (const { pid, name, bytes } of await membersOf(root)) {
      const label = pid === root ? 'serve' : name;
      now.set(label, (now.get(label) ?? 0) + bytes);
    }
    together = Math.max(
      together,
      [...now.values()].reduce((sum, bytes) => sum + bytes, 0),
    );
    for (const [name, bytes] of now) programs.set(name, Math.max(programs.get(name) ?? 0, bytes));
  };
  const timer = setInterval(() => void look(), LOOK_MS);
  return {
    peaks: () => ({ together, programs }),
    restart: () => {
      together = 0;
      programs = new Map();
    },
    stop: () => clearInterval(timer),
  };
}

type Member = { readonly pid: number; readonly name: string; readonly bytes: number };

/**
 * Only what is inside is read: on a busy machine a look at all of /proc would cost more than what it looks at. A child that still
 * runs its parent's program has been forked and not yet become another: its memory is its parent's.
 */
async function membersOf(root: number, parent?: string): Promise<readonly Member[]> {
  const member = await readMember(root);
  if (member === undefined || member.name === parent) return [];
  // Who starts processes does it from its first thread. It may end while we look.
  const children = await readFile(`/proc/${root}/task/${root}/children`, 'latin1').catch(() => '');
  const below = await Promise.all(
    children
      .split(' ')
      .filter(Boolean)
      .map((pid) => membersOf(Number(pid), member.name)),
  );
  return [member, ...below.flat()];
}

/** Source: proc(5), /proc/pid/task/tid/children; /proc/pid/stat: 2 comm, 24 rss. */
async function readMember(pid: number): Promise<Member | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined);
  if (text === undefined) return undefined;
  const [open, close] = [text.indexOf('('), text.lastIndexOf(')')];
  const words = text
    .slice(close + 2)
    .split(' ')
    .map(Number);
  return { pid, name: text.slice(open + 1, close), bytes: (words[21] ?? 0) * PAGE_BYTES };
}
