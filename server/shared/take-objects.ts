import type { Envelope } from '../../core/envelope.ts';
import { describeError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { EnvelopeSchema } from '../../core/sync-protocol.ts';
import { parseImageBody } from '../../sync/replicate/image-body.ts';
import { inTransaction } from '../db/open.ts';
import { getPeer, type Peer, setHeldObjects } from '../db/peers.ts';
import { listSharedObjects, listSharedSigners } from '../db/shared/objects.ts';
import { getSuccession } from '../db/successions.ts';
import { IMAGES } from '../holdings/activation.ts';
import { publishReplicas } from '../replication/publish.ts';
import { CATALOGUE } from '../replication/wait-for-news.ts';
import type { Site } from '../site.ts';
import { verifyEnvelope } from '../trust/signatures.ts';
import { type Brought, trustedSigner } from '../trust/trusted-signer.ts';
import type { Shared } from './open.ts';

const WHAT = 'reading the catalogue of the other servers';
const OBJECTS_AT_ONCE = 200;

/**
 * Brings here what a server of the shared database made since the last look: verified as from a parent, because the database
 * vouches for nothing. Images are `known` then; their content comes by runs. What is not to be believed is left out, in words.
 */
export async function takeObjects(site: Site, shared: Shared, origin: Id): Promise<void> {
  const peer = await getPeer(site.db, origin);
  if (peer === undefined) return;
  const mostSeq = await countsUpTo(site, peer);
  let brought: Brought | undefined;
  for (let after = peer.heldObjects; ; ) {
    const told = await shared.read(WHAT, (db) => listSharedObjects(db, origin, { after, limit: OBJECTS_AT_ONCE }));
    const page = told.filter(({ seq }) => seq <= mostSeq);
    const last = page.at(-1)?.seq;
    if (last === undefined) return;
    brought ??= { signers: await shared.read(WHAT, (db) => listSharedSigners(db, origin)) };
    const believed = await verifyAll(
      site,
      { origin, brought },
      page.map(({ envelope }) => envelope),
    );
    await inTransaction(site.db, async (trx) => {
      await publishReplicas(site, trx, believed, { at: site.now() });
      await setHeldObjects(trx, origin, last);
    });
    after = last;
    site.wake.notify(IMAGES);
    site.wake.notify(CATALOGUE);
  }
}

/** What a fenced server told as long as it had its place counts; nothing beyond. */
async function countsUpTo(site: Site, { id, state }: Peer): Promise<number> {
  return state === 'fenced' ? ((await getSuccession(site.db, id))?.objects ?? 0) : Number.MAX_SAFE_INTEGER;
}

async function verifyAll(site: Site, from: { origin: Id; brought: Brought }, envelopes: readonly Envelope[]): Promise<Envelope[]> {
  const believed: Envelope[] = [];
  for (const envelope of envelopes) {
    try {
      await verify(site, from, envelope);
      believed.push(envelope);
    } catch (error) {
      const { code, message } = describeError(error);
      site.log.warn('an object in the shared database is not taken', { object: envelope.id, origin: from.origin, code, error: message });
    }
  }
  return believed;
}

async function verify(site: Site, { origin, brought }: { origin: Id; brought: Brought }, envelope: Envelope): Promise<void> {
  EnvelopeSchema.parse(envelope);
  verifyEnvelope(envelope, await trustedSigner(site, brought, { keyId: envelope.keyId, serverId: origin }));
  if (envelope.kind === 'image' && envelope.body !== null) parseImageBody(envelope);
}
