import type { Knex } from 'knex';
import { databaseTimeAnd } from '../db/shared/clock.ts';
import { listSharedTree } from '../db/shared/servers.ts';
import type { Shared } from './open.ts';

export type Registered = Awaited<ReturnType<typeof listSharedTree>>[number];

/** All servers that meet in the database, by id, with its time at that moment (epoch ms). */
export type Registry = {
  readonly servers: ReadonlyMap<string, Registered>;
  readonly now: number;
  /** The database's time when its rows were read: before `now` when it is away and what was read last stands in. */
  readonly readAt: number;
};

type Remembered = { readonly registry: Registry; readonly at: number };

const remembered = new WeakMap<Shared, Remembered>();

/** What was read last stands in while the database is away; its clock goes on by ours. Undefined: it was not read since this server is up. */
export async function lastRegistry(shared: Shared): Promise<Registry | undefined> {
  const last = remembered.get(shared);
  // Others look whether it is back; who reads a list need not wait for a dead host.
  if (last !== undefined && shared.state().state === 'unreachable') return stale(last);
  try {
    const { servers, now } = await shared.read('the registry of servers', readRegistry);
    const registry = { servers, now, readAt: now };
    remembered.set(shared, { registry, at: performance.now() });
    return registry;
  } catch {
    // That it is away is told by `state()`; a list of servers is given without it.
    return last && stale(last);
  }
}

function stale({ registry, at }: Remembered): Registry {
  return { ...registry, now: registry.now + (performance.now() - at) };
}

function readRegistry(db: Knex) {
  return databaseTimeAnd(db, async () => ({ servers: new Map((await listSharedTree(db)).map((server) => [server.id, server])) }));
}
