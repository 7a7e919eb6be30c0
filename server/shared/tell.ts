import type { Knex } from 'knex';
import { CONTROL_PROTOCOL, type ReportAnswer, type ReportBatch } from '../../core/control-protocol.ts';
import type { Id } from '../../core/ids.ts';
import { ownMarks, passedMarks } from '../control/own-reports.ts';
import { wordsOf } from '../control/receive.ts';
import type { Listener } from '../control/report.ts';
import { listObjectsMade } from '../db/objects.ts';
import { getPeer } from '../db/peers.ts';
import type { Mark } from '../db/reported.ts';
import { putSharedObjects, putSharedSigners } from '../db/shared/objects.ts';
import { putSharedEvents, putSharedStates, putSharedWords } from '../db/shared/reports.ts';
import { getStream, lockStream, moveStream } from '../db/shared/streams.ts';
import { listSigners } from '../db/signers.ts';
import type { Site } from '../site.ts';
import { readFence } from '../succession/fence.ts';
import type { Shared } from './open.ts';

const WHAT = 'telling the other servers';
/** A cluster may lose its end without any of our statements failing: who is told, and what was heard, is compared this often. */
export const ASK_AGAIN_MS = 30_000;

/** The shared database as somebody who is told of things: ours, and those of servers below us that do not meet others there. */
export function sharedListener(site: Site, shared: Shared): Listener {
  let askedAt = performance.now();
  return {
    name: 'the shared database',
    isDoubted: () => {
      if (performance.now() - askedAt < ASK_AGAIN_MS) return false;
      askedAt = performance.now();
      return true;
    },
    streams: () => toldStreams(site),
    take: async (batches) => {
      const marks: ReportAnswer['marks'] = [];
      for (const batch of batches) marks.push(await shared.write(WHAT, (trx) => storeTold(trx, batch, site.now()), 'repeat'));
      return { protocol: CONTROL_PROTOCOL, marks };
    },
  };
}

async function toldStreams(site: Site): Promise<Mark[]> {
  // What happens at a fenced server waits, as in an outage.
  if ((await readFence(site.db))?.phase === 'fenced') return [];
  const below: Mark[] = [];
  for (const mark of await passedMarks(site)) if ((await getPeer(site.db, mark.origin)) === undefined) below.push(mark);
  return [...(await ownMarks(site)), ...below];
}

/** Stores a batch when it begins where its stream ends there; answers how far the stream is stored then. */
async function storeTold(trx: Knex.Transaction, batch: ReportBatch, at: number): Promise<ReportAnswer['marks'][number]> {
  const { stream, after, items } = batch;
  const origin = batch.origin as Id;
  const held = await lockStream(trx, origin, stream);
  const last = items.at(-1)?.seq;
  if (held !== after || last === undefined) return { origin, stream, seq: held };
  if (batch.stream === 'events') await putSharedEvents(trx, origin, batch.items);
  else {
    await putSharedStates(trx, origin, batch.items, at);
    const targets = batch.items.filter(({ kind }) => kind === 'target');
    await putSharedWords(trx, origin, new Map(targets.map(({ subject, body }) => [subject, wordsOf(subject, body)])));
  }
  await moveStream(trx, { origin, stream, seq: last }, held);
  return { origin, stream, seq: last };
}

const OBJECTS_AT_ONCE = 500;

/** Tells by which keys this server signs. */
export async function tellSigners(site: Site, shared: Shared): Promise<void> {
  const kept = await listSigners(site.db, site.self.id);
  await shared.write(WHAT, (trx) => putSharedSigners(trx, [...kept, site.keys.signer]), 'repeat');
}

/** Tells the objects that were made here and are not told yet. `told` is how far that is; undefined: the database is asked. Returns how far it is then. */
export async function tellObjects(site: Site, shared: Shared, told: number | undefined): Promise<number> {
  const origin = site.self.id;
  for (let after = told ?? (await shared.read(WHAT, (db) => getStream(db, origin, 'objects'))); ; ) {
    const objects = await listObjectsMade(site.db, origin, { after, limit: OBJECTS_AT_ONCE });
    const last = objects.at(-1)?.seq;
    if (last === undefined) return after;
    const store = async (trx: Knex.Transaction) => {
      const held = await lockStream(trx, origin, 'objects');
      if (held !== after) return held;
      await putSharedObjects(trx, origin, objects);
      await moveStream(trx, { origin, stream: 'objects', seq: last }, held);
      return last;
    };
    after = await shared.write(WHAT, store, 'repeat');
  }
}
