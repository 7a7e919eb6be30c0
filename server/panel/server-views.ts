import { z } from 'zod';
import { ServerReport } from '../../core/control-protocol.ts';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { isoTime } from '../../core/iso-time.ts';
import { SERVER_ROLES } from '../../core/server-role.ts';
import { SERVER_STATES } from '../../core/server-state.ts';
import { findServerBelow, statusesOf } from '../control/servers-below.ts';
import { findServerByName, getServer } from '../db/servers.ts';
import { listSuccessions, type Succession } from '../db/successions.ts';
import { SharedView, viewShared } from '../shared/view.ts';
import type { Site } from '../site.ts';
import { readFence } from '../succession/fence.ts';
import { readTreeFacts, type TreeFacts } from './facts.ts';
import { listPlaces, type Place } from './places.ts';
import { standingOf } from './standing.ts';

/** A server and where it stands: the same keys whether servers meet in a database or by links alone. */
export const PlacedServer = z.object({
  id: z.string(),
  name: z.string(),
  /** `peer`: it meets this one in the shared database, and no link of ours leads to it. */
  relation: z.enum(['self', 'parent', 'child', 'behind', 'peer']),
  state: z.enum(SERVER_STATES),
  url: z.string().nullable(),
  fingerprint: z.string().nullable(),
  createdAt: z.iso.datetime(),
  seenAt: z.iso.datetime().nullable(),
  /** Takes content from here and is no child ("server source add" there). */
  contentOnly: z.boolean(),
  /** Of a child: its own ring. */
  ring: z.number().int().nullable(),
  /** For a server behind a child of ours: the name of that child. */
  via: z.string().nullable(),
  /** What a server below said of itself last, and when that came. */
  status: ServerReport.nullable(),
  reportedAt: z.iso.datetime().nullable(),
  /** Commands that it has not fetched yet, also those for servers behind it. */
  waiting: z.number().int(),
  role: z.enum(SERVER_ROLES),
  parent: z.string().nullable(),
  wishedParent: z.string().nullable(),
  /** The file that says who its parent is ("site apply"), in words; null: operators set it. */
  parentFile: z.string().nullable(),
  heartbeatAt: z.iso.datetime().nullable(),
  heartbeatAgeSeconds: z.number().int().nullable(),
  /** Not heard for a minute by the shared database, or for eleven by reports. */
  silent: z.boolean(),
  version: z.string().nullable(),
  /** Of a fenced server: who took its place, and when. */
  successor: z.string().nullable(),
  succeededAt: z.iso.datetime().nullable(),
  /** Of this server itself: how it stands with the shared database. */
  shared: SharedView.nullable(),
});
export type ServerView = z.infer<typeof PlacedServer>;

/** All that is known of the servers together, and how many of them are shown. */
type Facts = TreeFacts & { readonly places: readonly Place[] };

async function readFacts(site: Site): Promise<Facts> {
  const facts = await readTreeFacts(site);
  // This server first; the others by id, so that a page begins where the one before ended, whoever came or went meanwhile.
  const [self, ...others] = listPlaces(site, facts).toSorted((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1));
  return { ...facts, places: self === undefined ? [] : [self, ...others] };
}

function rank({ relation }: Place): number {
  return relation === 'self' ? 0 : 1;
}

/** Shows these of them, each with its whole report, which is read for them alone. */
async function viewPlaces(site: Site, facts: Facts, shown: readonly Place[]): Promise<ServerView[]> {
  const reports = await statusesOf(
    site.db,
    shown.map(({ id }) => id),
  );
  const successions = await listSuccessions(site.db);
  const names = new Map(facts.places.map(({ id, name }) => [id, name]));
  const isFenced = (await readFence(site.db))?.phase === 'fenced';
  return shown.map((place): ServerView => {
    const isSelf = place.relation === 'self';
    const { id, name, relation, known, peer, role, parent } = place;
    const status = isSelf ? undefined : reports.get(id);
    const heard = facts.origins.get(id);
    const seenAt = known === undefined ? heard?.seenAt : known.seenAt;
    const heardAt = Math.max(seenAt ?? 0, status?.at ?? 0) || null;
    const { release, ...standing } = standingOf(site, place, { facts, heardAt });
    const state = isSelf && isFenced ? 'fenced' : standing.state;
    const report = isSelf ? facts.own : (status?.report ?? null);
    return {
      ...{ id, name, relation, role, parent, ...standing, state },
      ...{ url: known?.url ?? peer?.url ?? null, fingerprint: known?.caPin ?? peer?.caPin ?? null },
      createdAt: isoTime(known?.createdAt ?? peer?.firstAt ?? heard?.seenAt ?? facts.now),
      ...{ seenAt: isoTime(seenAt), contentOnly: known?.isContentOnly ?? false, ring: known?.ring ?? null },
      via: relation === 'behind' && heard !== undefined ? (names.get(heard.via) ?? heard.via) : null,
      ...{ status: report, reportedAt: isoTime(status?.at), version: report?.version ?? release },
      waiting: relation === 'child' || relation === 'peer' ? (facts.waiting.get(id) ?? 0) : 0,
      ...successorOf({ id, state }, successions),
      shared: isSelf ? viewShared(site) : null,
    };
  });
}

function successorOf({ id, state }: Pick<ServerView, 'id' | 'state'>, successions: readonly Succession[]) {
  const found = state === 'fenced' ? successions.find(({ predecessor }) => predecessor === id) : undefined;
  return { successor: found?.successorName ?? null, succeededAt: isoTime(found?.at) };
}

/** `after`: the id that the page before ended with. */
export type ServerPage = { readonly after?: string | undefined; readonly limit?: number | undefined };

/** The servers known here, page by page: this one, its parent, its children, those behind them, and those that meet it in the shared database. */
export async function listServerViews(
  site: Site,
  { after, limit = 100 }: ServerPage,
): Promise<{ readonly items: ServerView[]; readonly next: string | null }> {
  const facts = await readFacts(site);
  const isBehind = ({ id, relation }: Place) => after === undefined || (relation !== 'self' && (after === site.self.id || id > after));
  const rest = facts.places.filter(isBehind);
  const items = await viewPlaces(site, facts, rest.slice(0, limit));
  return { items, next: rest.length > limit ? (items.at(-1)?.id ?? null) : null };
}

/** All of them at once. */
export async function viewServers(site: Site): Promise<ServerView[]> {
  return (await listServerViews(site, { limit: Number.POSITIVE_INFINITY })).items;
}

/** One of them, by name or id. Errors: `not_found`, `ambiguous`. */
export async function showServer(site: Site, reference: string): Promise<ServerView> {
  const known = (await findServerByName(site.db, reference)) ?? (await getServer(site.db, reference as Id));
  const facts = await readFacts(site);
  const isMeant = ({ id, name, relation }: Place) =>
    known === undefined ? relation === 'peer' && (id === reference || name === reference) : id === known.id;
  const id = facts.places.find(isMeant)?.id ?? (await findServerBelow(site.db, reference)).id;
  return viewOne(site, facts, id);
}

/** A server that is known here, after something was done to it. */
export async function placed(site: Site, id: string): Promise<ServerView> {
  return viewOne(site, await readFacts(site), id);
}

async function viewOne(site: Site, facts: Facts, id: string): Promise<ServerView> {
  const found = facts.places.filter((place) => place.id === id);
  const [view] = await viewPlaces(site, facts, found);
  if (view !== undefined) return view;
  throw new AppError('not_found', `no server ${id} is known here`, { hint: 'waystation server list' });
}
