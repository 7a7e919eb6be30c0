import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SharedView } from '../../../server/shared/view.ts';
import { ASKING_A_SERVER, waitUntil } from '../wait-until.ts';
import type { OrderView } from './deployment.ts';
import { type Laboratory, MACHINE } from './laboratory.ts';
import type { LabServer } from './server.ts';

/** An order for the machine, made at headquarters and known to the branch, before the machine was ever seen. */
export async function orderAtHeadquarters(
  { sites: { hq, branch }, timeline }: Laboratory,
  image: string,
): Promise<{ readonly id: string }> {
  await hq.json('target', 'add', 'till', '--mac', MACHINE, '--server', branch.name);
  const { id } = await hq.json<OrderView>('order', 'create', '--target', 'till', '--image', image);
  await waitUntil('the order is at the branch', async () => (await stateAt(branch, id)) === 'activated', {
    ...ASKING_A_SERVER,
    limitMs: 60_000,
  });
  timeline.say('hq', `order made here: ${image} to ${MACHINE} at ${branch.name}, which knows it`);
  return { id };
}

/** The state of an order as a server knows it; undefined when it has not heard of it. */
export async function stateAt(server: LabServer, id: string): Promise<string | undefined> {
  const { items } = await server.get<{ items: OrderView[] }>('/api/v1/orders');
  return items.find((order) => order.id === id)?.state;
}

export type Outage = {
  /** What `sync status` of the branch says of the database. */
  told(): Promise<SharedView>;
  /** Brings the WAN and the database back, at the earliest `atLeastSeconds` after they went; gives for how long they were away. */
  end(atLeastSeconds: number): Promise<number>;
};

/** Kills the database where the servers of the laboratory meet and cuts the WAN; resolves when the branch has noticed. */
export async function cutOff({ sites, network, meeting, timeline }: Laboratory): Promise<Outage> {
  if (meeting === undefined) throw new Error('this laboratory meets in no database');
  await meeting.mariadb.kill();
  await network.setWan('down');
  const startedMs = performance.now();
  timeline.say('lab', 'MariaDB is killed, and the WAN is cut');
  const told = async () => (await sites.branch.json<{ shared: SharedView }>('sync', 'status')).shared;
  await waitUntil('the branch knows it', async () => (await told()).state === 'unreachable', { ...ASKING_A_SERVER, limitMs: 30_000 });
  return {
    told,
    end: async (atLeastSeconds) => {
      await sleep(Math.max(0, atLeastSeconds * 1000 - (performance.now() - startedMs)));
      const awaySeconds = (performance.now() - startedMs) / 1000;
      await network.setWan('up');
      await meeting.mariadb.start();
      timeline.say('lab', `WAN and MariaDB are back after ${awaySeconds.toFixed(1)} s`);
      return awaySeconds;
    },
  };
}

/** What a server knows of what happened at `from`, in order, as one text for each event; `subject` and `kind` narrow it down. */
export function eventsAt(server: LabServer, from: LabServer, only: { readonly subject?: string; readonly kind?: string } = {}): string[] {
  const origin = readFileSync(join(from.dataDir, 'server-id'), 'utf8').trim();
  const db = new DatabaseSync(join(server.dataDir, 'db.sqlite'), { readOnly: true });
  try {
    const rows = db.prepare('select seq, at, actor, kind, subject, data from events where origin = ? order by seq').all(origin);
    const isMeant = (row: { [column: string]: unknown }) => Object.entries(only).every(([column, value]) => row[column] === value);
    return rows.filter(isMeant).map((row) => JSON.stringify(row));
  } finally {
    db.close();
  }
}
