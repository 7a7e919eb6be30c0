import type { Knex } from 'knex';
import type { Json } from '../../core/canonical-json.ts';
import type { Id } from '../../core/ids.ts';
import type { Progress } from '../../core/progress.ts';

/**
 * What was decided here about an image that a server below offers:
 *
 *   approved   its content is to be fetched; until that has ended
 *   published  it is an image of this server's catalogue
 *   refused    by an operator
 *   failed     it could not be taken, with words
 */
export type ApprovalState = 'approved' | 'refused' | 'published' | 'failed';

export type Approval = {
  readonly imageId: Id;
  readonly fromId: Id;
  readonly state: ApprovalState;
  readonly actor: string;
  readonly plan: Json;
  readonly progress: Progress | null;
  readonly words: string | null;
};

type Row = {
  image_id: Id;
  from_id: Id;
  state: ApprovalState;
  actor: string;
  plan: string | null;
  progress: string | null;
  words: string | null;
  created_at: number;
  updated_at: number;
  origin: Id;
  revision: number;
};

export async function listApprovals(db: Knex, state?: ApprovalState): Promise<Approval[]> {
  const rows = db<Row>('approvals').orderBy('image_id');
  if (state !== undefined) rows.where({ state });
  return (await rows).map(fromRow);
}

export async function getApproval(db: Knex, imageId: string): Promise<Approval | undefined> {
  const row = await db<Row>('approvals')
    .where({ image_id: imageId as Id })
    .first();
  return row && fromRow(row);
}

/** Writes a decision down, in place of an earlier one about the same image. */
export async function putApproval(
  trx: Knex,
  decision: Pick<Approval, 'imageId' | 'fromId' | 'state' | 'actor' | 'words'> & { readonly origin: Id; readonly now: number },
): Promise<void> {
  const { imageId, fromId, state, actor, words, origin, now } = decision;
  const fields = { from_id: fromId, state, actor: actor.slice(0, 128), words, plan: null, progress: null, updated_at: now };
  const changed = await trx<Row>('approvals').where({ image_id: imageId }).update(fields).increment('revision', 1);
  if (changed === 0) await trx<Row>('approvals').insert({ image_id: imageId, ...fields, created_at: now, origin, revision: 1 });
}

/** How far the fetching of an approved image is. */
export async function noteApproval(
  db: Knex,
  imageId: Id,
  change: { plan?: Json; progress?: Progress | null; words?: string | null },
): Promise<void> {
  const fields: Partial<Row> = {};
  if (change.plan !== undefined) fields.plan = JSON.stringify(change.plan);
  if (change.progress !== undefined) fields.progress = change.progress === null ? null : JSON.stringify(change.progress);
  if (change.words !== undefined) fields.words = change.words;
  if (Object.keys(fields).length > 0) await db<Row>('approvals').where({ image_id: imageId, state: 'approved' }).update(fields);
}

/** Ends an approval. Returns false when it is no longer `approved`. */
export async function endApproval(
  trx: Knex,
  imageId: Id,
  end: { state: 'published' | 'failed'; words: string | null; now: number },
): Promise<boolean> {
  const fields = { state: end.state, words: end.words, plan: null, progress: null, updated_at: end.now };
  return (await trx<Row>('approvals').where({ image_id: imageId, state: 'approved' }).update(fields).increment('revision', 1)) === 1;
}

function fromRow(row: Row): Approval {
  return {
    imageId: row.image_id,
    fromId: row.from_id,
    state: row.state,
    actor: row.actor,
    plan: row.plan === null ? null : (JSON.parse(row.plan) as Json),
    progress: row.progress === null ? null : (JSON.parse(row.progress) as Progress),
    words: row.words,
  };
}
