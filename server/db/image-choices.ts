import type { Knex } from 'knex';
import type { Id } from '../../core/ids.ts';
import type { ChoiceMode } from '../../core/version-choice.ts';

/** An operator's choice of a version, at most one for a name. */
export type ImageChoice = {
  readonly name: string;
  readonly mode: ChoiceMode;
  readonly imageId: Id;
  /** Epoch ms. */
  readonly chosenAt: number;
  readonly actor: string;
};

type Row = { name: string; mode: ChoiceMode; image_id: Id; chosen_at: number | string; actor: string };

export async function getImageChoice(db: Knex, name: string): Promise<ImageChoice | undefined> {
  const row = await db<Row>('image_choices').where({ name }).first();
  return row && toChoice(row);
}

export async function listImageChoices(db: Knex): Promise<readonly ImageChoice[]> {
  return (await db<Row>('image_choices').orderBy('name')).map(toChoice);
}

/** Makes the choice, in place of the one before. */
export async function putImageChoice(db: Knex, choice: ImageChoice, origin: Id): Promise<void> {
  const row = { mode: choice.mode, image_id: choice.imageId, chosen_at: choice.chosenAt, actor: choice.actor.slice(0, 128) };
  const changed = await db('image_choices').where({ name: choice.name }).update(row).increment('revision', 1);
  if (changed === 0) await db('image_choices').insert({ name: choice.name, ...row, origin, revision: 1 });
}

/** Takes a choice back, one of this mode only where given. Returns false when there was none. */
export async function removeImageChoice(db: Knex, name: string, mode?: ChoiceMode): Promise<boolean> {
  return (
    (await db('image_choices')
      .where({ name, ...(mode === undefined ? {} : { mode }) })
      .delete()) > 0
  );
}

function toChoice(row: Row): ImageChoice {
  return { name: row.name, mode: row.mode, imageId: row.image_id, chosenAt: Number(row.chosen_at), actor: row.actor };
}
