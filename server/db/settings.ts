import type { Knex } from 'knex';

/** A setting's text, or undefined when it was never set. */
export async function getSetting(db: Knex, key: string): Promise<string | undefined> {
  const row = await db('settings').where({ key }).first('value');
  return row?.value;
}

/** Those whose key begins so. */
export async function listSettings(db: Knex, prefix: string): Promise<{ readonly key: string; readonly value: string }[]> {
  return db('settings').where('key', 'like', `${prefix}%`).orderBy('key').select('key', 'value');
}

export async function setSetting(db: Knex, key: string, value: string): Promise<void> {
  await db('settings').insert({ key, value }).onConflict('key').merge();
}

export async function deleteSetting(db: Knex, key: string): Promise<void> {
  await db('settings').where({ key }).delete();
}
