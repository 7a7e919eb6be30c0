import type { Knex } from 'knex';
import type { Id } from '../../core/ids.ts';
import { markChanged } from './outbox.ts';

export type OfferState = 'offered' | 'approved' | 'refused' | 'published' | 'failed';

/** An image of our own that we offer to the servers above. */
export type Offer = {
  readonly imageId: Id;
  readonly state: OfferState;
  /** Why it was refused or failed. */
  readonly words: string | null;
  readonly createdAt: number;
};

export async function getOffer(db: Knex, imageId: string): Promise<Offer | undefined> {
  const row = await db('offers').where({ image_id: imageId }).first();
  return row && { imageId: row.image_id, state: row.state, words: row.words, createdAt: Number(row.created_at) };
}

export async function listOffers(db: Knex): Promise<Offer[]> {
  const rows = await db('offers').orderBy('created_at', 'desc');
  return rows.map((row) => ({ imageId: row.image_id, state: row.state, words: row.words, createdAt: Number(row.created_at) }));
}

/** Makes an offer, or offers again what was refused; told upwards. */
export async function putOffer(trx: Knex.Transaction, offer: { imageId: Id; origin: Id; now: number }): Promise<void> {
  const { imageId, origin, now } = offer;
  const changed = await trx('offers')
    .where({ image_id: imageId })
    .update({ state: 'offered', words: null, updated_at: now })
    .increment('revision', 1);
  if (changed === 0) {
    await trx('offers').insert({ image_id: imageId, state: 'offered', created_at: now, updated_at: now, origin, revision: 1 });
  }
  await markChanged(trx, 'offer', imageId);
}

/** What was decided above. Returns false when there is no such offer. */
export async function decideOffer(trx: Knex.Transaction, offer: Pick<Offer, 'imageId' | 'state' | 'words'>, now: number): Promise<boolean> {
  const { imageId, state, words } = offer;
  const changed = await trx('offers').where({ image_id: imageId }).update({ state, words, updated_at: now }).increment('revision', 1);
  if (changed === 1) await markChanged(trx, 'offer', imageId);
  return changed === 1;
}
