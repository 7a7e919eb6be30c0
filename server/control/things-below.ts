import type { Knex } from 'knex';
import { OrderReport, TargetReport } from '../../core/control-protocol.ts';
import { AppError } from '../../core/errors.ts';
import { type Id, printable } from '../../core/ids.ts';
import { findOrder } from '../db/orders.ts';
import { findReported, findReportedTargets, listReported, type Reported } from '../db/reported.ts';
import { getOrder, listOrders } from '../orders/orders.ts';
import { type OrderView, viewOrder, viewOrders } from '../orders/view.ts';
import { lookElsewhere } from '../shared/look-elsewhere.ts';
import type { Site } from '../site.ts';
import { referenceKinds } from '../targets/identity.ts';
import { type TargetView, viewTarget, viewTargets } from '../targets/view.ts';
import { getTarget, listTargets } from '../targets.ts';
import { serverNames } from './servers-below.ts';

/** Targets and orders of this server and of all below it, as one list. What lives below is shown as its own server told it last. */

type Page<View> = { readonly items: readonly View[]; readonly next: string | null };

/** A target or an order of a server below. */
export type Below<View> = { readonly origin: Id; readonly view: View };

export async function listAllTargets(
  site: Site,
  page: { readonly after?: string | undefined; readonly limit?: number | undefined },
): Promise<Page<TargetView>> {
  const limit = page.limit ?? 100;
  const own = await listTargets(site, { ...page, limit });
  const below = await listReported(site.db, 'target', { after: page.after, limit: limit + 1 });
  const views = [...(await viewTargets(site, own.items)), ...(await readable(site.db, below, readTarget))];
  views.sort((a, b) => (a.id < b.id ? -1 : 1));
  const hasMore = own.next !== null || below.length > limit || views.length > limit;
  const items = views.slice(0, limit);
  return { items, next: hasMore ? (items.at(-1)?.id ?? null) : null };
}

/** One target, here or below. Errors: `not_found`; `ambiguous` when the word names two. */
export async function showTarget(site: Site, reference: string): Promise<TargetView> {
  const found = await locateTarget(site, reference);
  return found.where === 'here' ? viewTarget(site, found.target) : found.below.view;
}

export type LocatedTarget =
  | { readonly where: 'here'; readonly target: Awaited<ReturnType<typeof getTarget>> }
  | { readonly where: 'below'; readonly below: Below<TargetView> };

/** Where the target that this id, name, UUID or MAC address names lives, also when only the shared database knows it. Errors: `not_found`, `ambiguous`. */
export async function locateTarget(site: Site, reference: string): Promise<LocatedTarget> {
  try {
    return await locateKnown(site, reference);
  } catch (error) {
    const isUnknown = error instanceof AppError && error.code === 'not_found';
    if (isUnknown && (await lookElsewhere(site, wordsOf(reference)))) return locateKnown(site, reference);
    throw error;
  }
}

async function locateKnown(site: Site, reference: string): Promise<LocatedTarget> {
  const below = await findTargetsBelow(site.db, reference);
  const own = await getTarget(site, reference).catch((error: unknown) => {
    if (error instanceof AppError && error.code === 'not_found' && below.length > 0) return undefined;
    throw error;
  });
  const [first, second] = below;
  if (own !== undefined && first === undefined) return { where: 'here', target: own };
  if (first !== undefined && second === undefined && own === undefined) return { where: 'below', below: first };
  const all = [...(own ? [{ id: own.id, server: site.self.name }] : []), ...below.map(({ view }) => view)];
  throw new AppError('ambiguous', `"${printable(reference)}" names a target at each of ${all.map(({ server }) => server).join(', ')}`, {
    hint: `use the id: ${all.map(({ id }) => id).join(' or ')}`,
  });
}

async function findTargetsBelow(db: Knex, reference: string): Promise<Below<TargetView>[]> {
  const rows = new Map<string, Reported>();
  for (const word of wordsOf(reference))
    for (const row of await findReportedTargets(db, word)) rows.set(`${row.origin} ${row.subject}`, row);
  const found = [...rows.values()].filter((row) => readTarget(row) !== undefined);
  const views = await readable(db, found, readTarget);
  return views.map((view, n) => ({ origin: (found[n] as Reported).origin, view }));
}

/** What a target may be found by when it is called so. */
function wordsOf(reference: string): string[] {
  const kinds = referenceKinds(reference);
  return [...new Set(kinds.map((kind) => (kind === 'mac' ? macOf(reference) : kind === 'uuid' ? reference.toLowerCase() : reference)))];
}

function macOf(text: string): string {
  return (text.toLowerCase().replaceAll(/[:-]/g, '').match(/../g) ?? []).join(':');
}

function readTarget({ subject, body }: Reported): Omit<TargetView, 'server'> | undefined {
  const report = TargetReport.safeParse(body).data;
  return report?.id === subject ? (report as unknown as TargetView) : undefined;
}

export type OrderQuery = {
  readonly target?: string | undefined;
  readonly before?: string | undefined;
  readonly limit?: number | undefined;
};

/** Orders here and below, newest first. */
export async function listAllOrders(site: Site, { target, before, limit = 100 }: OrderQuery): Promise<Page<OrderView>> {
  const located = target === undefined ? undefined : await locateTarget(site, target);
  const targetId = located && (located.where === 'here' ? located.target.id : located.below.view.id);
  const own = located?.where === 'below' ? { items: [], next: null } : await listOrders(site, { targetRef: targetId, before, limit });
  const below = located?.where === 'here' ? [] : await ordersBelow(site.db, { targetId, before, limit: limit + 1 });
  const views = [...(await viewOrders(site, own.items)), ...below];
  views.sort((a, b) => (a.id < b.id ? 1 : -1));
  const items = views.slice(0, limit);
  return { items, next: own.next !== null || views.length > limit ? (items.at(-1)?.id ?? null) : null };
}

async function ordersBelow(
  db: Knex,
  { targetId, before, limit }: { targetId: string | undefined; before: string | undefined; limit: number },
): Promise<OrderView[]> {
  const found: OrderView[] = [];
  for (let from = before; found.length < limit; ) {
    const rows = await listReported(db, 'order', { before: from, newestFirst: true, targetId, limit });
    found.push(...(await readable(db, rows, readOrder)));
    from = rows.at(-1)?.subject;
    if (rows.length < limit) break;
  }
  return found.slice(0, limit);
}

export type LocatedOrder =
  | { readonly where: 'here'; readonly view: OrderView }
  | { readonly where: 'below'; readonly below: Below<OrderView> };

/** One order, here or below; what a server below tells never stands before one of ours. Errors: `not_found`. */
export async function locateOrder(site: Site, id: string): Promise<LocatedOrder> {
  const own = await findOrder(site.db, id);
  if (own !== undefined) return { where: 'here', view: await viewOrder(site, own) };
  for (const row of await findReported(site.db, 'order', id)) {
    const [view] = await readable(site.db, [row], readOrder);
    if (view !== undefined) return { where: 'below', below: { origin: row.origin, view } };
  }
  return { where: 'here', view: await viewOrder(site, await getOrder(site, id)) };
}

function readOrder({ subject, body }: Reported): Omit<OrderView, 'server'> | undefined {
  const report = OrderReport.safeParse(body).data;
  return report?.id === subject ? (report as unknown as OrderView) : undefined;
}

/** What can be read of these, with the names of their servers. */
async function readable<View>(
  db: Knex,
  rows: readonly Reported[],
  read: (row: Reported) => Omit<View, 'server'> | undefined,
): Promise<(View & { readonly server: string })[]> {
  const names = await serverNames(
    db,
    rows.map(({ origin }) => origin),
  );
  return rows.flatMap((row) => {
    const view = read(row);
    return view === undefined ? [] : [{ ...view, server: names.get(row.origin) ?? row.origin } as View & { server: string }];
  });
}
