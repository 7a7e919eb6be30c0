import type { HealthLevel } from '../../../core/server-health.ts';
import type { TreeServer } from '../../../core/server-tree.ts';

/** What people pick from: whom to look at. */
export const FILTERS = ['all', 'problem', 'warning', 'running', 'paused', 'ok'] as const;
export type Filter = (typeof FILTERS)[number];

const LEVELS: readonly HealthLevel[] = ['problem', 'warning', 'unknown', 'notice', 'ok'];

export function isPicked({ health, run, paused }: TreeServer, filter: Filter): boolean {
  switch (filter) {
    case 'all':
      return true;
    case 'problem':
      return health.level === 'problem';
    case 'warning':
      return health.level === 'warning' || health.level === 'unknown';
    case 'running':
      return run !== null && !run.isEnded;
    case 'paused':
      return paused;
    case 'ok':
      return health.level === 'ok' || health.level === 'notice';
  }
}

export function countFilters(servers: readonly TreeServer[]): Record<Filter, number> {
  const counts = { all: 0, problem: 0, warning: 0, running: 0, paused: 0, ok: 0 };
  for (const server of servers) for (const filter of FILTERS) if (isPicked(server, filter)) counts[filter] += 1;
  return counts;
}

export type Row = {
  readonly server: TreeServer;
  /** 1 at the top. */
  readonly depth: number;
  readonly hasChildren: boolean;
  readonly isOpen: boolean;
  /** Shown because something below it was picked. */
  readonly isOnlyTheWay: boolean;
};

export type Wish = { readonly filter: Filter; readonly text: string; readonly shut: ReadonlySet<string> };

/** The tree as rows from the top down: who is worse, or has worse below, comes first. What was picked keeps the way to it. */
export function listRows(servers: readonly TreeServer[], { filter, text, shut }: Wish): Row[] {
  const known = new Set(servers.map(({ id }) => id));
  const children = Map.groupBy(servers, ({ parentId }) => (parentId !== null && known.has(parentId) ? parentId : ''));
  const isPlain = filter === 'all' && text === '';
  const wanted = text.trim().toLowerCase();
  const isWanted = (server: TreeServer) => isPicked(server, filter) && server.name.toLowerCase().includes(wanted);
  const worst = new Map<string, number>();
  const kept = new Set<string>();
  const weigh = (server: TreeServer): number => {
    const below = children.get(server.id) ?? [];
    const ranks = below.map(weigh);
    const rank = Math.min(LEVELS.indexOf(server.health.level), ...ranks);
    worst.set(server.id, rank);
    if (isWanted(server) || below.some(({ id }) => kept.has(id))) kept.add(server.id);
    return rank;
  };
  const roots = children.get('') ?? [];
  for (const root of roots) weigh(root);
  const rows: Row[] = [];
  const walk = (level: readonly TreeServer[], depth: number) => {
    const order = level
      .filter(({ id }) => kept.has(id))
      .sort((a, b) => (worst.get(a.id) ?? 0) - (worst.get(b.id) ?? 0) || (a.name < b.name ? -1 : 1));
    for (const server of order) {
      const below = (children.get(server.id) ?? []).filter(({ id }) => kept.has(id));
      // Who looks for something sees it, also below what was shut.
      const isOpen = !isPlain || !shut.has(server.id);
      rows.push({ server, depth, hasChildren: below.length > 0, isOpen, isOnlyTheWay: !isWanted(server) });
      if (isOpen) walk(below, depth + 1);
    }
  };
  walk(roots, 1);
  return rows;
}
