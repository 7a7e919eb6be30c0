import type { Json } from '../../core/canonical-json.ts';
import { MAX_REPORT_BYTES, type ReportBatch, type ServerReport } from '../../core/control-protocol.ts';
import type { Id } from '../../core/ids.ts';
import { listEvents, newestEvent, type StoredEvent } from '../db/events.ts';
import { findOrder } from '../db/orders.ts';
import { listOrigins } from '../db/origins.ts';
import { type Change, listChanges, newestChange } from '../db/outbox.ts';
import { listMarks, listReportedAfter, type Mark } from '../db/reported.ts';
import { listServers } from '../db/servers.ts';
import { findTargetBy } from '../db/targets.ts';
import { viewOrder } from '../orders/view.ts';
import type { Site } from '../site.ts';
import { viewTarget } from '../targets/view.ts';
import { slimData, withLost } from './event-limits.ts';
import { describeOffer } from './offers/make.ts';
import { type Disk, describeSelf, readDisk } from './status.ts';

type Items<Stream> = Extract<ReportBatch, { stream: Stream }>['items'];

/** How far each stream goes that we can tell a parent of: our own, and those of the servers below us. */
export async function newestMarks(site: Site): Promise<Mark[]> {
  return [...(await ownMarks(site)), ...(await passedMarks(site))];
}

export async function ownMarks(site: Site): Promise<Mark[]> {
  const origin = site.self.id;
  return [
    { origin, stream: 'events', seq: await newestEvent(site.db, origin) },
    { origin, stream: 'states', seq: await newestChange(site.db) },
  ];
}

/** Of servers below us. What was heard of others, in a shared database, is not ours to pass on. */
export async function passedMarks(site: Site): Promise<Mark[]> {
  const children = new Set((await listServers(site.db)).filter(({ relation }) => relation === 'child').map(({ id }) => id));
  const below = new Set((await listOrigins(site.db)).filter(({ via }) => children.has(via)).map(({ id }) => id));
  return (await listMarks(site.db)).filter(({ origin }) => below.has(origin));
}

/** The next items of a stream after a number, at most `limit`. Events pass a relay as they are, states as they came. */
export async function readBatch(site: Site, { origin, stream }: Omit<Mark, 'seq'>, after: number, limit: number): Promise<ReportBatch> {
  if (stream === 'events') {
    const events = await listEvents(site.db, { origin, since: after, limit });
    return { stream, origin, after, items: withLost(origin, events.map(slimEvent), { after, limit }) };
  }
  return {
    stream,
    origin,
    after,
    items: origin === site.self.id ? await ownStates(site, after, limit) : await passedOn(site, origin, after, limit),
  };
}

function slimEvent({ origin: _origin, ...event }: StoredEvent): Items<'events'>[number] {
  return { ...event, data: slimData(event.data) as Record<string, Json> };
}

async function passedOn(site: Site, origin: Id, after: number, limit: number): Promise<Items<'states'>> {
  const rows = await listReportedAfter(site.db, origin, after, limit);
  return rows.map(({ seq, kind, subject, body }) => ({ seq, kind, subject, body }));
}

/** Number and state are read in one transaction: what changes later gets a higher number and is told again. */
async function ownStates(site: Site, after: number, limit: number): Promise<Items<'states'>> {
  const disk = await readDisk(site);
  return site.db.transaction(async (trx) => {
    const items: Items<'states'> = [];
    const here: Site = { ...site, db: trx };
    for (const change of await listChanges(trx, after, limit)) items.push({ ...change, body: await describe(here, disk, change) });
    return items;
  });
}

async function describe(site: Site, disk: Disk, { kind, subject }: Change): Promise<Json> {
  if (kind === 'server') return fit(leaner(await describeSelf(site, disk)), 'images');
  if (kind === 'order') {
    const order = await findOrder(site.db, subject);
    return order === undefined ? null : fit(told(await viewOrder(site, order)), 'error');
  }
  if (kind === 'target') {
    const target = await findTargetBy(site.db, 'id', subject);
    return target === undefined ? null : fit(told(await viewTarget(site, target)), 'inventory');
  }
  if (kind === 'offer') return (await describeOffer(site.db, subject)) as unknown as Json;
  return null;
}

/** The reader knows who told it. */
function told<View extends { readonly server: string }>({ server: _server, ...view }: View): Json {
  return view as unknown as Json;
}

/** Hundreds of images with long names are told without the times at which they were verified. */
function leaner(self: ServerReport): Json {
  if (JSON.stringify(self).length <= MAX_REPORT_BYTES) return self as unknown as Json;
  return { ...self, images: self.images.map(({ verifiedAt: _verifiedAt, ...image }) => image) } as unknown as Json;
}

/** A document that is too large goes without its bulkiest member. */
function fit(body: Json, bulky: string): Json {
  if (JSON.stringify(body).length <= MAX_REPORT_BYTES) return body;
  return { ...(body as Record<string, Json>), [bulky]: bulky === 'images' ? [] : null };
}
