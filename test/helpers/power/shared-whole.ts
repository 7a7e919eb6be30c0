import assert from 'node:assert/strict';
import { eventually } from '../control-sites.ts';
import type { SharedNode } from '../shared-sites.ts';
import type { SharedLedger } from './shared-load.ts';

/** Asks the database as somebody who may read all of it; columns between tabs. */
type Ask = (query: string) => Promise<string>;

/**
 * Waits until two servers that meet in `database` have told each other everything, and holds it against the ledger: every target and
 * order that was acknowledged is there once, and nothing else. Nobody works on them any more.
 */
export async function assertAllTold(
  nodes: readonly [SharedNode, SharedNode],
  ledger: SharedLedger,
  database: string,
  ask: Ask,
): Promise<void> {
  const [one, other] = nodes;
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    await eventually(`all that happened at ${from.site.self.name} is in the database, once`, async () => {
      const told = await ask(`select seq from ${database}.shared_events where origin = '${from.site.self.id}' order by seq`);
      return told.split('\n').filter(Boolean).map(Number).join() === (await ownEvents(from)).join();
    });
    await assertOrders(from, to, ledger);
    await eventually(`${to.site.self.name} knows every target of ${from.site.self.name}, once`, async () => {
      const own = await from.site.db('targets').pluck('id');
      return sorted(await reportedAt(to, from, 'target')) === sorted(own);
    });
  }
  const targets = await Promise.all(nodes.map(async ({ site }) => (await site.db('targets').pluck('id')) as string[]));
  assert.equal(sorted(targets.flat()), sorted(ledger.targets.map(({ id }) => id)), 'targets: acknowledged and there, each once');
}

/** What `maker` ordered at `owner` is there, is all that is there, and its maker was told so. */
async function assertOrders(owner: SharedNode, maker: SharedNode, ledger: SharedLedger): Promise<void> {
  const wanted = ledger.orders.filter((order) => order.for === owner.site.self.id);
  const pairs = wanted.map(({ id, targetId }) => `${id} ${targetId}`);
  await eventually(`what was ordered at ${maker.site.self.name} is at ${owner.site.self.name}, once`, async () => {
    const rows: { id: string; target_id: string }[] = await owner.site.db('orders').select('id', 'target_id');
    return sorted(rows.map((row) => `${row.id} ${row.target_id}`)) === sorted(pairs);
  });
  await eventually(`${maker.site.self.name} was told of its orders`, async () => {
    return sorted(await reportedAt(maker, owner, 'order', 1)) === sorted(wanted.map(({ id }) => id));
  });
}

async function ownEvents({ site }: SharedNode): Promise<number[]> {
  return (await site.db('events').where({ origin: site.self.id }).orderBy('seq').pluck('seq')).map(Number);
}

/** What one server has heard of another's things; an order that only went off has no number of its owner yet. */
function reportedAt(at: SharedNode, of: SharedNode, kind: string, least = 0): Promise<string[]> {
  return at.site.db('reported').where({ origin: of.site.self.id, kind }).where('seq', '>=', least).whereNotNull('body').pluck('subject');
}

function sorted(words: readonly string[]): string {
  return [...words].sort().join('\n');
}
