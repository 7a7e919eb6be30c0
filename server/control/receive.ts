import type { Knex } from 'knex';
import { authorise } from '../../core/authorise.ts';
import type { Json } from '../../core/canonical-json.ts';
import {
  CONTROL_PROTOCOL,
  MAX_REPORT_BYTES,
  OrderReport,
  type ReportAnswer,
  type ReportBatch,
  type Reports,
  ServerReport,
  TargetReport,
} from '../../core/control-protocol.ts';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { insertEvents, trimEvents } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { countOriginsVia, putOrigin, reachOf, routeTo } from '../db/origins.ts';
import { countReported, getMarkOf, getReported, lockMark, moveMark, putReported, replaceWords } from '../db/reported.ts';
import type { Site } from '../site.ts';
import { shareOfEvents, slimData } from './event-limits.ts';

/** Things that one server may keep here; a branch has thousands of orders, not hundreds of thousands. */
const MOST_THINGS = 200_000;
/** Servers that one child may report for; a relay has hundreds behind it. */
export const MOST_SERVERS = 1_000;

const NameOf = ServerReport.pick({ name: true });

type Mark = ReportAnswer['marks'][number];

/**
 * Takes what a child reports of itself and of the servers behind it. Each batch is stored whole and once: only when it begins
 * where the last one of its stream ended, in one transaction with the new mark. A batch that comes again, or too early, changes
 * nothing. The answer says for each stream how far it is stored, and so what is to come next.
 */
export async function receiveReports(site: Site, sender: Id, { protocol, batches }: Reports): Promise<ReportAnswer> {
  checkProtocol(protocol);
  const marks: Mark[] = [];
  const changed = new Set<string>();
  for (const batch of batches) marks.push(await inTransaction(site.db, (trx) => takeBatch(site, trx, { sender, batch, changed })));
  if (batches.some(({ items }) => items.length > 0)) site.wake.notify('events');
  for (const targetId of changed) site.wake.notify(`target:${targetId}`);
  return { protocol: CONTROL_PROTOCOL, marks };
}

type Taken = { readonly sender: Id; readonly batch: ReportBatch; readonly changed: Set<string> };

async function takeBatch(site: Site, trx: Knex.Transaction, { sender, batch, changed }: Taken): Promise<Mark> {
  const { origin, stream, items } = batch as ReportBatch & { origin: Id };
  const reach = await reachOf(trx, origin);
  if (!mayReport(sender, origin, reach)) return { origin, stream, seq: 0, refused: `server ${sender} may not report for server ${origin}` };
  if (reach === undefined) {
    // A question about a server that is not known here is answered, and leaves nothing behind.
    if (items.length === 0) return { origin, stream, seq: await getMarkOf(trx, origin, stream) };
    if (origin !== sender && (await countOriginsVia(trx, sender)) >= MOST_SERVERS)
      return { origin, stream, seq: 0, refused: `server ${sender} reports for ${MOST_SERVERS} servers already: revoke it if it has fewer` };
  }
  const taken = await storeBatch(site, trx, batch, { sender, changed });
  if (items.length > 0 && taken.isNew) await putOrigin(trx, { id: origin, via: sender, seenAt: site.now() });
  return { origin, stream, seq: taken.seq };
}

/**
 * Stores a batch, in the caller's transaction, when it begins where its stream ends here; else nothing of it. `sender` is who
 * brought it, `changed` gets the targets whose orders are told. Returns how far the stream is stored then.
 * Errors: `bad_data` for a batch in disorder, `busy` when another writer is at it, `not_permitted` for too much.
 */
export async function storeBatch(
  site: Site,
  trx: Knex.Transaction,
  batch: ReportBatch,
  { sender, changed }: { readonly sender: Id; readonly changed: Set<string> },
): Promise<{ readonly seq: number; readonly isNew: boolean }> {
  const { origin, stream, after, items } = batch as ReportBatch & { origin: Id };
  const held = await lockMark(trx, origin, stream);
  const last = items.at(-1)?.seq;
  if (held !== after || last === undefined) return { seq: held, isNew: false };
  refuseDisorder(batch);
  const at = site.now();
  if (batch.stream === 'events') for (const event of batch.items) await noteRefusal(site, trx, sender, event);
  if (batch.stream === 'events') await storeEvents(trx, batch, sender);
  else await storeStates(trx, batch, { origin, at, changed });
  if (!(await moveMark(trx, { origin, stream, seq: last }, held)))
    throw new AppError('busy', 'another report of this server is being stored');
  return { seq: last, isNew: true };
}

/** An unknown server is believed to stand behind whoever reports it first; nobody can report for one whose way we know. */
function mayReport(sender: Id, origin: Id, reach: Id | null | undefined): boolean {
  if (reach === null) return false;
  return authorise({ kind: 'server', serverId: sender }, 'control.report', { ownerId: origin, viaId: reach ?? sender });
}

/** Numbers rise; events, which the origin numbers without gaps, one by one. */
function refuseDisorder({ stream, after, items }: ReportBatch): void {
  let before = after;
  for (const { seq } of items) {
    if (stream === 'events' ? seq !== before + 1 : seq <= before) {
      throw new AppError('bad_data', `a report skips from ${before} to ${seq}`, {
        hint: 'the reporting server is damaged or of another release',
      });
    }
    before = seq;
  }
}

async function storeEvents(trx: Knex.Transaction, batch: Extract<ReportBatch, { stream: 'events' }>, sender: Id): Promise<void> {
  const origin = batch.origin as Id;
  await insertEvents(
    trx,
    batch.items.map((event) => ({ ...event, data: slimData(event.data), origin })),
  );
  await trimEvents(trx, origin, (batch.items.at(-1)?.seq ?? 0) - (await shareOfEvents(trx, sender)));
}

async function storeStates(
  trx: Knex.Transaction,
  { items }: Extract<ReportBatch, { stream: 'states' }>,
  { origin, at, changed }: { origin: Id; at: number; changed: Set<string> },
): Promise<void> {
  let isMore = false;
  for (const { seq, kind, subject, body } of items) {
    if (JSON.stringify(body).length > MAX_REPORT_BYTES) throw new AppError('bad_data', `a report is longer than ${MAX_REPORT_BYTES} bytes`);
    if (await putReported(trx, { origin, kind, subject: subject as Id, seq, body, at })) isMore = true;
    if (kind === 'target') await replaceWords(trx, origin, subject, wordsOf(subject, body));
    if (kind === 'server' && subject === origin) await replaceWords(trx, origin, subject, nameIn(body));
    if (kind === 'order') changed.add(OrderReport.safeParse(body).data?.targetId ?? '');
  }
  // Counted only when there is more to count than before: progress is told each second.
  if (isMore && (await countReported(trx, origin)) > MOST_THINGS) {
    throw new AppError('not_permitted', `server ${origin} reports more than ${MOST_THINGS} things`, {
      hint: 'revoke it if it is not what it should be',
    });
  }
}

/**
 * A command of ours that did not arrive, or was not done: our log says so. What is shown of it here as on its way, and nobody else
 * will ever report, goes: an order has failed, a target is none.
 */
async function noteRefusal(
  site: Site,
  trx: Knex,
  sender: Id,
  { kind, at, actor, data }: { kind: string; at: number; actor: string; data: Record<string, Json> },
): Promise<void> {
  const { orderId, targetId, dest, words, code, kind: asked } = data as Record<string, unknown>;
  if (kind !== 'control.refused' || typeof dest !== 'string' || (await routeTo(trx, dest as Id)) !== sender) return;
  if (actor === `server:${site.self.id}`) site.log.warn('a command was refused', { server: dest, kind: asked, code, words });
  if (typeof orderId === 'string') {
    const ended = { state: 'failed', note: null, endedAt: new Date(at).toISOString(), revision: 1 };
    const error = { code: String(code).slice(0, 64), message: String(words).slice(0, 4096) };
    await changeExpected(trx, { origin: dest as Id, kind: 'order', subject: orderId }, (body) => ({ ...body, ...ended, error }));
  }
  if (typeof targetId === 'string' && (asked === 'target.add' || code === 'not_found')) {
    const key = { origin: dest as Id, kind: 'target', subject: targetId };
    if (await changeExpected(trx, key, () => null)) await replaceWords(trx, key.origin, targetId, []);
  }
}

/** Changes the copy of what is on its way to its server; false when that server has spoken of it itself. */
async function changeExpected(
  trx: Knex,
  key: { readonly origin: Id; readonly kind: string; readonly subject: string },
  change: (body: Record<string, Json>) => Json,
): Promise<boolean> {
  const row = await getReported(trx, key);
  if (row?.seq !== 0) return false;
  await putReported(trx, { ...row, body: change(row.body as Record<string, Json>) });
  return true;
}

/** By what a target that is reported is found. */
export function wordsOf(subject: string, body: unknown): string[] {
  const target = TargetReport.safeParse(body).data;
  if (target?.id !== subject) return [];
  return [target.name, target.uuid?.toLowerCase() ?? null, ...target.macs].filter((word) => word !== null);
}

/** What a server calls itself in its report. */
function nameIn(body: unknown): string[] {
  const name = NameOf.safeParse(body).data?.name;
  return name === undefined ? [] : [name];
}

/** Throws `version_mismatch` for a protocol that is not ours. */
export function checkProtocol(protocol: number): void {
  if (protocol === CONTROL_PROTOCOL) return;
  throw new AppError('version_mismatch', `the other server speaks control protocol ${protocol}, this one ${CONTROL_PROTOCOL}`, {
    hint: 'upgrade the older of the two servers',
  });
}
