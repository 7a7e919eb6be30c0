import { z } from 'zod';
import { LATE_WAYS } from './schedule/decide.ts';

/**
 * A file that says how all servers of a shared database stand to one another. What it names of a server is the file's to say from
 * then on; what it leaves out stays with the operators.
 */

const name = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'must be the name of a server');
const mbit = z.number().positive().max(1_000_000).nullable();

/** When and how fast the link of a server runs; null is none, off. */
export const LinkWish = z.strictObject({
  schedule: z.string().min(1).max(128).nullable().optional(),
  timezone: z.string().min(1).max(64).optional(),
  mayStart: z.string().max(32).nullable().optional(),
  mustStop: z.string().max(32).nullable().optional(),
  late: z.enum(LATE_WAYS).optional(),
  capMbit: mbit.optional(),
});
export type LinkWish = z.infer<typeof LinkWish>;
export const LINK_FIELDS = [
  'schedule',
  'timezone',
  'mayStart',
  'mustStop',
  'late',
  'capMbit',
] as const satisfies readonly (keyof LinkWish)[];

export const TreeServer = z.strictObject({
  name,
  /** Absent or null: it has none. */
  parent: name.nullable().default(null),
  settings: z.record(z.string().max(64), z.string().max(64)).default({}),
  link: LinkWish.default({}),
  /** What its parent gives it (0: the pilots; null: none of its own); absent: operators give it. */
  ring: z.number().int().min(0).max(1000).nullable().optional(),
});
export type TreeServer = z.infer<typeof TreeServer>;

/** `line` is where it stands in the file, from 1. */
export type Placed = TreeServer & { readonly line: number };
export type Problem = { readonly line: number; readonly words: string };

/** What is wrong with the servers of a file among themselves: named twice, two parents, a parent that is not there, circles. */
export function checkTree(servers: readonly Placed[]): Problem[] {
  const first = new Map<string, Placed>();
  const problems: Problem[] = [];
  for (const server of servers) {
    const before = first.get(server.name);
    if (before === undefined) first.set(server.name, server);
    else {
      const words =
        before.parent === server.parent ? 'is there twice' : `has two parents, ${before.parent ?? 'none'} and ${server.parent ?? 'none'}`;
      problems.push({ line: server.line, words: `server ${server.name} ${words} (first in line ${before.line})` });
    }
  }
  for (const { name: child, parent, line, ring } of first.values()) {
    if (ring !== undefined && parent === null) problems.push({ line, words: `server ${child} has a ring and no parent to give it` });
    if (parent === child) problems.push({ line, words: `server ${child} cannot be its own parent` });
    else if (parent !== null && !first.has(parent))
      problems.push({ line, words: `the parent ${parent} of server ${child} is not in the file` });
    else if (parent !== null && isInCircle(first, child)) problems.push({ line, words: `server ${child} would be above itself` });
  }
  return problems.sort((a, b) => a.line - b.line);
}

function isInCircle(servers: ReadonlyMap<string, Placed>, start: string): boolean {
  let at = servers.get(start)?.parent ?? null;
  for (let steps = 0; at !== null && steps <= servers.size; steps += 1) {
    if (at === start) return true;
    at = servers.get(at)?.parent ?? null;
  }
  return false;
}

/** A server as it is: its wished parent and by whom that was wished, what it last told of its settings and its link. */
export type ActualServer = {
  readonly id: string;
  readonly name: string;
  readonly parent: string | null;
  readonly parentBy: 'operator' | 'file' | null;
  readonly settings: Readonly<Record<string, { readonly value: string; readonly from: string }>>;
  readonly link: Readonly<Record<string, unknown>> | null;
  /** Fields of its link that a file says. */
  readonly managed: readonly string[];
  /** The rings that a file says of its children, by their id. */
  readonly rings: Readonly<Record<string, number | null>>;
};

/** One thing that is not as the file says: null is none, or not told. */
export type Difference = { readonly server: string; readonly field: string; readonly is: string | null; readonly wanted: string | null };

/** What differs from the file, server by server in the file's order; `owner` is the server that applies it. Servers that the file leaves out come last. */
export function diffTree(servers: readonly TreeServer[], actual: readonly ActualServer[], owner: string): Difference[] {
  const byName = new Map(actual.map((server) => [server.name, server]));
  const named = new Set(servers.map((server) => server.name));
  const missing = actual.filter((server) => !named.has(server.name) && server.parentBy === 'file');
  return [
    ...servers.flatMap((server) => [...diffServer(server, byName.get(server.name), owner), ...diffRing(server, byName)]),
    ...listLeftRings(servers, actual),
    ...missing.map((server) => ({ server: server.name, field: 'managed', is: 'by a file', wanted: 'by operators' })),
  ];
}

function diffServer(wanted: TreeServer, is: ActualServer | undefined, owner: string): Difference[] {
  const server = wanted.name;
  const found: Difference[] = [];
  const note = (field: string, a: unknown, b: unknown) => {
    const [left, right] = [textOf(a), textOf(b)];
    if (left !== right) found.push({ server, field, is: left, wanted: right });
  };
  note('parent', is?.parent, wanted.parent);
  note('managed', is?.parentBy === 'file' ? 'by a file' : 'by operators', 'by a file');
  for (const [key, value] of Object.entries(wanted.settings)) {
    const kept = is?.settings[key];
    note(`settings.${key}`, kept?.from === owner ? kept.value : kept && `${kept.value} (${kept.from})`, value);
  }
  for (const key of LINK_FIELDS) {
    if (wanted.link[key] !== undefined) note(`link.${key}`, is?.link?.[key], wanted.link[key]);
    else if (is?.managed.includes(key)) note(`link.${key}`, 'by a file', 'by operators');
  }
  return found;
}

function diffRing({ name: server, parent, ring }: TreeServer, actual: ReadonlyMap<string, ActualServer>): Difference[] {
  if (ring === undefined || parent === null) return [];
  const id = actual.get(server)?.id ?? '';
  const said = actual.get(parent)?.rings[id];
  if (said === ring) return [];
  return [{ server, field: 'ring', is: said === undefined ? 'by operators' : ringText(said), wanted: ringText(ring) }];
}

/** Rings that a file gave and that no line of this one gives: of servers that it left out, that have another parent, or no ring in it. */
function listLeftRings(servers: readonly TreeServer[], actual: readonly ActualServer[]): Difference[] {
  const names = new Map(actual.map(({ id, name }) => [id, name]));
  return actual.flatMap((parent) =>
    Object.keys(parent.rings)
      .filter((id) => !servers.some((one) => one.name === names.get(id) && one.parent === parent.name && one.ring !== undefined))
      .map((id) => ({ server: names.get(id) ?? id, field: `${RING_AT}${parent.name}`, is: 'by a file', wanted: 'by operators' })),
  );
}

/** What the field of a ring begins with that its giver, named behind it, is to leave to operators. */
export const RING_AT = 'ring at ';

function ringText(ring: number | null): string {
  return ring === null ? 'none' : String(ring);
}

function textOf(value: unknown): string | null {
  return value === undefined || value === null ? null : String(value);
}
