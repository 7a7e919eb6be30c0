import type { Knex } from 'knex';
import type { Id } from '../../core/ids.ts';
import type { Catalogue, EgressShare } from '../../core/sync-protocol.ts';
import { type Grant, getTotalEgress, listGrants } from '../db/egress.ts';
import type { Link } from '../db/links.ts';
import { deleteSetting, getSetting, setSetting } from '../db/settings.ts';
import type { Site } from '../site.ts';
import { fetchingChildren } from './egress.ts';

/** What our limit leaves that child, for a catalogue; nothing when there is none. Caps of other children may leave it more. */
export async function tellShare(site: Site, childId: Id): Promise<Pick<Catalogue, 'share'>> {
  const total = await getTotalEgress(site.db);
  if (total === null) return {};
  const grants = await listGrants(site.db);
  const own = grants.find(({ id }) => id === childId);
  if (own === undefined) return {};
  const others = grants.filter(({ id, paused }) => id !== childId && paused === null);
  const fetching = fetchingChildren(site);
  const now = others.filter(({ id }) => fetching.includes(id));
  return { share: { bps: shareOf(total, own, now), leastBps: shareOf(total, own, others) } };
}

function shareOf(total: number, { priority }: Grant, others: readonly Grant[]): number {
  const shares = others.reduce((sum, other) => sum + other.priority, priority);
  return Math.max(1, Math.floor((total * priority) / shares));
}

/** By the parent: who moves to another one does not go by what the former told. */
const keyOf = ({ parentId }: Link): string => `parent-share.${parentId}`;

/** Keeps what the parent's newest catalogue told, for plans. */
export async function keepShare(db: Knex, link: Link, share: EgressShare | undefined): Promise<void> {
  const held = await getSetting(db, keyOf(link));
  const text = share === undefined ? undefined : JSON.stringify(share);
  if (text === held) return;
  await (text === undefined ? deleteSetting(db, keyOf(link)) : setSetting(db, keyOf(link), text));
}

/** Null: the parent has no limit, or did not tell. */
export async function getShare(db: Knex, link: Link): Promise<EgressShare | null> {
  const text = await getSetting(db, keyOf(link));
  return text === undefined ? null : (JSON.parse(text) as EgressShare);
}
