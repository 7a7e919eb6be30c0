import { OfferReport } from '../../../core/control-protocol.ts';
import { AppError, describeError, type ErrorCode } from '../../../core/errors.ts';
import { type Id, printable } from '../../../core/ids.ts';
import { type Approval, endApproval, getApproval, listApprovals, noteApproval, putApproval } from '../../db/approvals.ts';
import { appendEvent } from '../../db/events.ts';
import { listOffers } from '../../db/offers.ts';
import { inTransaction } from '../../db/open.ts';
import { reachOf } from '../../db/origins.ts';
import { listReported } from '../../db/reported.ts';
import type { Site } from '../../site.ts';
import { controlTopic, dispatch, dispatchWithin } from '../dispatch.ts';
import { type ServerBelow, serverName } from '../servers-below.ts';
import { fetchOffer } from './fetch.ts';
import { describeOffer } from './make.ts';

/** The topic that wakes the fetching of approved images. */
export const APPROVALS = 'approvals';
/** What may pass by itself: it is tried again. */
const TEMPORARY: readonly ErrorCode[] = ['unreachable', 'busy', 'disk_full', 'waiting', 'run_in_progress', 'cancelled'];
const MOST_OFFERS = 10_000;

/** An offer as it is shown: of this server to those above, or of a server below to this one. */
export type OfferView = OfferReport & {
  readonly server: string;
  /** While its content is on its way. */
  readonly progress: Approval['progress'];
};

/** Offers of this server and of all below it, the newest image last. */
export async function showOffers(site: Site): Promise<OfferView[]> {
  const own = await Promise.all((await listOffers(site.db)).map(({ imageId }) => describeOffer(site.db, imageId)));
  const below = await offersBelow(site);
  const views = [
    ...own.filter((offer) => offer !== null).map((offer) => ({ ...offer, server: site.self.name, progress: null })),
    ...below.map(({ view }) => view),
  ];
  return views.sort((a, b) => (a.id < b.id ? -1 : 1));
}

async function offersBelow(site: Site): Promise<{ view: OfferView; from: Id }[]> {
  const rows = await listReported(site.db, 'offer', { limit: MOST_OFFERS });
  const found = await Promise.all(
    rows.map(async ({ origin, subject, body }) => {
      const report = OfferReport.safeParse(body).data;
      if (report?.id !== subject) return undefined;
      const decision = await getApproval(site.db, subject);
      const decided = decision === undefined ? {} : { state: decision.state, words: decision.words };
      const view: OfferView = { ...report, ...decided, server: await serverName(site.db, origin), progress: decision?.progress ?? null };
      return { view, from: origin };
    }),
  );
  return found.filter((offer) => offer !== undefined);
}

/** Lets an offered image in: it is fetched at once, or when its server is back. Errors: `not_found`, `ambiguous`, `wrong_state`. */
export function approveOffer(site: Site, reference: string, actor: string): Promise<OfferView> {
  return decide(site, reference, { state: 'approved', words: null, actor });
}

/** Turns an offered image down. Errors as for `approveOffer`. */
export function refuseOffer(site: Site, reference: string, words: string | null, actor: string): Promise<OfferView> {
  return decide(site, reference, { state: 'refused', words, actor });
}

type Decision = { readonly state: 'approved' | 'refused'; readonly words: string | null; readonly actor: string };

async function decide(site: Site, reference: string, { state, words, actor }: Decision): Promise<OfferView> {
  const { view, from } = await findOffer(site, reference);
  if (view.state === 'published')
    throw new AppError('wrong_state', `image ${view.reference} of server ${view.server} is published already`);
  const now = site.now();
  await dispatch(
    site,
    await reachable(site, from),
    { kind: 'offer.decided', body: { imageId: view.id, state, words }, actor },
    async (trx) => {
      await putApproval(trx, { imageId: view.id as Id, fromId: from, state, actor, words, origin: site.self.id, now });
      const data = { reference: view.reference, server: view.server, words };
      await appendEvent(trx, { origin: site.self.id, at: now, actor, kind: `offer.${state}`, subject: view.id, data });
    },
  );
  site.wake.notify(APPROVALS);
  return { ...view, state, words };
}

async function findOffer(site: Site, reference: string): Promise<{ view: OfferView; from: Id }> {
  const found = (await offersBelow(site)).filter(({ view }) => view.id === reference || view.reference === reference);
  const [first, second] = found;
  if (first === undefined)
    throw new AppError('not_found', `no server below offers "${printable(reference)}"`, { hint: 'see "image offers"' });
  if (second === undefined) return first;
  throw new AppError('ambiguous', `"${printable(reference)}" is offered by ${found.map(({ view }) => view.server).join(' and ')}`, {
    hint: `use the id: ${found.map(({ view }) => view.id).join(' or ')}`,
  });
}

async function reachable(site: Site, id: Id): Promise<ServerBelow> {
  const via = await reachOf(site.db, id);
  const name = await serverName(site.db, id);
  if (via) return { id, via, name };
  throw new AppError('wrong_state', `server ${name} is not reached by any child of this server any more`, {
    hint: 'waystation server list',
  });
}

/** Fetches what was approved, one after the other. What fails for good is told to the server that offered it. */
export async function fetchApproved(site: Site, signal: AbortSignal): Promise<void> {
  for (const approval of await listApprovals(site.db, 'approved')) {
    if (signal.aborted) return;
    let from: ServerBelow | undefined;
    try {
      from = await reachable(site, approval.fromId);
      await fetchOffer(site, from, approval, signal);
      site.log.info('an offered image is published', { image: approval.imageId, server: from.name });
    } catch (error) {
      if (signal.aborted) return;
      await settleFailure(site, { approval, from }, error);
    }
  }
}

type Failed = { readonly approval: Approval; readonly from: ServerBelow | undefined };

async function settleFailure(site: Site, { approval, from }: Failed, error: unknown): Promise<void> {
  const { code, message } = describeError(error);
  const { imageId } = approval;
  site.log.warn('an offered image was not fetched', { image: imageId, code, error: message });
  const words = message.slice(0, 1024);
  if (TEMPORARY.includes(code)) return noteApproval(site.db, imageId, { words, progress: null });
  await inTransaction(site.db, async (trx) => {
    const now = site.now();
    if (!(await endApproval(trx, imageId, { state: 'failed', words, now }))) return;
    const event = { origin: site.self.id, at: now, actor: 'system', kind: 'offer.failed', subject: imageId };
    await appendEvent(trx, { ...event, data: { words } });
    if (from !== undefined)
      await dispatchWithin(site, trx, from, { kind: 'offer.decided', body: { imageId, state: 'failed', words }, actor: 'system' });
  });
  site.wake.notify('events');
  if (from !== undefined) site.wake.notify(controlTopic(from.via));
}
