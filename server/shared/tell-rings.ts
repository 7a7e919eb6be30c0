import type { Knex } from 'knex';
import type { Id } from '../../core/ids.ts';
import { type Difference, type Placed, RING_AT } from '../../core/site-tree.ts';
import { controlTopic, dispatchWithin } from '../control/dispatch.ts';
import { findServerBelow } from '../control/servers-below.ts';
import { putRingWish } from '../holdings/ring-wish.ts';
import type { Site } from '../site.ts';
import type { Telling } from './tree.ts';

/** Tells each parent which rings a file says of its children, of those that differ, in the caller's transaction. Gives the topics to wake. */
export async function tellRings(
  site: Site,
  trx: Knex.Transaction,
  { file, wanted, differences, servers, actor }: Omit<Telling, 'active'>,
): Promise<string[]> {
  const topics: string[] = [];
  for (const { child, parent, ...said } of ringWishes(wanted, differences, file)) {
    const wish = { server: (servers.find(({ name }) => name === child)?.id ?? child) as Id, ...said };
    if (parent === site.self.name) {
      await putRingWish(site, trx, wish, { owner: site.self.id, actor });
      continue;
    }
    const to = await findServerBelow(trx, parent);
    await dispatchWithin(site, trx, to, { kind: 'ring.put', body: wish, actor });
    topics.push(controlTopic(to.via));
  }
  return topics;
}

type RingTold = { readonly child: string; readonly parent: string; readonly ring: number | null; readonly file: string | null };

/** Which server is to give which of its children which ring, of those that differ. */
function ringWishes(wanted: readonly Placed[], differences: readonly Difference[], file: string): RingTold[] {
  const given = differences
    .filter(({ field }) => field === 'ring')
    .flatMap(({ server }) => wanted.filter(({ name }) => name === server))
    .map(({ name, parent, ring = null }) => ({ child: name, parent: parent ?? '', ring, file }));
  const left = differences
    .filter(({ field }) => field.startsWith(RING_AT))
    .map(({ server, field }) => ({ child: server, parent: field.slice(RING_AT.length), ring: null, file: null }));
  // Given back first: the same server may have another parent now.
  return [...left, ...given];
}
