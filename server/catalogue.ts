import type { Knex } from 'knex';
import type { Json } from '../core/canonical-json.ts';
import { digestOf, type Envelope, nextRevision, type ObjectKind, signedBytes } from '../core/envelope.ts';
import { type Digest, type Id, newId } from '../core/ids.ts';
import { OUR_ABILITIES, OUR_PROTOCOLS } from '../core/negotiate.ts';
import type { Catalogue } from '../core/sync-protocol.ts';
import { appendEvent } from './db/events.ts';
import { getCatalogueNumbers, getMark, getObject, listObjectsBetween, putObject, takeGeneration } from './db/objects.ts';
import { inTransaction } from './db/open.ts';
import { getSetting, setSetting } from './db/settings.ts';
import { getSigner, saveSigner } from './db/signers.ts';
import { refuseCopy } from './owner.ts';
import { tellShare } from './replication/share.ts';
import { describeTier } from './replication/tier.ts';
import type { Site } from './site.ts';
import { refuseFenced } from './succession/fence.ts';
import { vouchFor } from './trust/endorse.ts';
import { catalogueBytes, objectsDigest, signerHint } from './trust/signatures.ts';

/** What a new or changed object of our own is made of; a `null` body is a tombstone. */
export type ObjectDraft = { readonly kind: ObjectKind; readonly id?: Id; readonly body: Json };

/**
 * Signs, numbers and stores an object of our own in the caller's transaction: revision above the
 * last (`nextRevision`), generation of our catalogue one more than the last. Children see it at their next run.
 * Throws `not_permitted` for an object that another server made, `fenced` when another has our place.
 */
export async function publishObject(
  site: Pick<Site, 'self' | 'keys' | 'now'>,
  trx: Knex.Transaction,
  draft: ObjectDraft,
): Promise<Envelope> {
  await refuseFenced(trx);
  const held = draft.id === undefined ? undefined : await getObject(trx, draft.id);
  if (held !== undefined) await refuseCopy({ db: trx, self: site.self }, `object ${held.id}`, held.origin);
  const unsigned = {
    kind: draft.kind,
    id: draft.id ?? newId(),
    origin: site.self.id,
    revision: held === undefined ? 1 : nextRevision(held.revision, (await getCatalogueNumbers(trx)).epoch),
    digest: digestOf(draft.body),
    keyId: site.keys.signerKeyId,
  };
  // Kept, so that objects signed before a change of the key stay believable after it.
  await saveSigner(trx, site.keys.signer, site.now());
  const envelope: Envelope = { ...unsigned, body: draft.body, signature: site.keys.sign(signedBytes(unsigned)) };
  await putObject(trx, envelope, await takeGeneration(trx));
  return envelope;
}

/** How long an answer may be believed: a child whose clock and link are sane asks again long before. */
const CATALOGUE_VALID_MS = 7 * 24 * 3_600_000;

/**
 * The signed answer to a child: every object numbered above `since`, or all of them when the child knows another
 * epoch than ours. Signers of all origins in it travel along, our own unless the child names it (`signerHint`), and the child's
 * place in the tree. `archive` is the digest of the content of an archive file that the answer goes into, `validMs` how long that is good.
 */
export async function answerCatalogue(
  site: Site,
  held: { epoch: number; since: number; protocol?: number; signer?: string | undefined; archive?: Digest; validMs?: number },
  childId?: Id,
): Promise<Catalogue> {
  const { epoch, generation } = await getCatalogueNumbers(site.db);
  const since = held.epoch === epoch ? held.since : 0;
  if (since > generation) await noteBehind(site, { epoch, generation, since });
  // Objects stored after the numbers were read belong to the next answer: what we sign must be what we send.
  const numbered = await listObjectsBetween(site.db, since, generation);
  const issuedAt = site.now();
  const head: Catalogue['head'] = {
    serverId: site.self.id,
    epoch,
    generation,
    since,
    issuedAt,
    expiresAt: issuedAt + (held.validMs ?? CATALOGUE_VALID_MS),
    objectsDigest: objectsDigest(numbered),
    ...(held.archive === undefined ? {} : { archive: held.archive }),
  };
  return {
    protocol: held.protocol ?? OUR_PROTOCOLS.newest,
    head,
    keyId: site.keys.signerKeyId,
    signature: site.keys.sign(catalogueBytes(head)),
    ...(await vouchersOf(site, numbered, held.signer)),
    objects: numbered as unknown as Catalogue['objects'],
    ...(await marksOf(site, head)),
    abilities: [...OUR_ABILITIES],
    tier: await describeTier(site, childId),
    ...(childId === undefined ? {} : await tellShare(site, childId)),
  };
}

/** Not in the head: a child of release 0.1 signs what it knows of that. The connection is the parent's. */
async function marksOf(site: Site, { generation, since }: Catalogue['head']): Promise<Pick<Catalogue, 'mark' | 'sinceMark'>> {
  const mark = await getMark(site.db, generation);
  const sinceMark = since === generation ? undefined : await getMark(site.db, since);
  return { ...(mark === undefined ? {} : { mark }), ...(sinceMark === undefined ? {} : { sinceMark }) };
}

/** A child that holds more than we ever gave says that we were restored from a backup: one event for each epoch. */
async function noteBehind(site: Site, numbers: { epoch: number; generation: number; since: number }): Promise<void> {
  const key = `catalogue.behind.${numbers.epoch}`;
  await inTransaction(site.db, async (trx) => {
    if ((await getSetting(trx, key)) !== undefined) return;
    await setSetting(trx, key, String(numbers.since));
    const words = `a child holds generation ${numbers.since}, this server is at ${numbers.generation}: was it restored from a backup?`;
    const data = { ...numbers, words, hint: 'if so: waystation server epoch raise --yes' };
    await appendEvent(trx, {
      origin: site.self.id,
      at: site.now(),
      actor: 'system',
      kind: 'catalogue.behind',
      subject: site.self.id,
      data,
    });
  });
  site.wake.notify('events');
}

/** The signers of all these objects, our own unless it is known, and who vouches for those that the reader may not know. */
async function vouchersOf(site: Site, objects: readonly Envelope[], known?: string): Promise<Pick<Catalogue, 'signers' | 'endorsements'>> {
  const { signers, endorsements } = await vouchFor(
    site,
    objects.map(({ origin }) => origin),
  );
  const keyIds = new Set(objects.map(({ keyId }) => keyId));
  const found = await Promise.all([...keyIds].map((keyId) => getSigner(site.db, keyId)));
  const byKey = new Map([...found.filter((signer) => signer !== undefined), ...signers, site.keys.signer].map((one) => [one.keyId, one]));
  if (known === signerHint(site.keys.signerKeyId)) byKey.delete(site.keys.signerKeyId);
  return { signers: [...byKey.values()], ...(endorsements.length === 0 ? {} : { endorsements }) };
}
