import type { Knex } from 'knex';
import type { Json } from '../core/canonical-json.ts';
import { digestOf, type Envelope, type ObjectKind, signedBytes } from '../core/envelope.ts';
import { AppError } from '../core/errors.ts';
import { type Id, newId } from '../core/ids.ts';
import { getObject, putObject, takeGeneration } from './db/objects.ts';
import type { Site } from './site.ts';

/** What a new or changed object of our own is made of; a `null` body is a tombstone. */
export type ObjectDraft = { readonly kind: ObjectKind; readonly id?: Id; readonly body: Json };

/**
 * Signs, numbers and stores an object of our own in the caller's transaction: revision one more than the
 * last, generation of our catalogue one more than the last. Children see it at their next run.
 * Throws `not_permitted` for an object that another server made.
 */
export async function publishObject(site: Pick<Site, 'self' | 'keys'>, trx: Knex.Transaction, draft: ObjectDraft): Promise<Envelope> {
  const held = draft.id === undefined ? undefined : await getObject(trx, draft.id);
  if (held !== undefined && held.origin !== site.self.id) throw foreignObject(held);
  const unsigned = {
    kind: draft.kind,
    id: draft.id ?? newId(),
    origin: site.self.id,
    revision: (held?.revision ?? 0) + 1,
    digest: digestOf(draft.body),
    keyId: site.keys.signerKeyId,
  };
  const envelope: Envelope = { ...unsigned, body: draft.body, signature: site.keys.sign(signedBytes(unsigned)) };
  await putObject(trx, envelope, await takeGeneration(trx));
  return envelope;
}

function foreignObject(held: Envelope): AppError {
  return new AppError('not_permitted', `object ${held.id} was made by server ${held.origin} and is a copy here`, {
    hint: `change it on server ${held.origin}`,
  });
}
