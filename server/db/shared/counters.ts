import type { Knex } from 'knex';

/**
 * Takes the next `count` numbers of a counter and returns the first. Call it late in the transaction that uses them: the
 * counter's row stays locked until that ends, so numbers rise with the commits, and whoever has seen number n has seen
 * all below it.
 */
export async function takeNumbers(trx: Knex, name: string, count: number): Promise<number> {
  const taken = await trx('shared_counters').where({ name }).increment('value', count);
  if (taken === 0) {
    // The first two writers may meet here: one inserts, the other waits for it.
    await trx('shared_counters').insert({ name, value: 0 }).onConflict('name').ignore();
    await trx('shared_counters').where({ name }).increment('value', count);
  }
  const row = await trx('shared_counters').where({ name }).first('value');
  return Number(row.value) - count + 1;
}

/** The newest number that was taken; 0 when none was. */
export async function newestNumber(db: Knex, name: string): Promise<number> {
  const row = await db('shared_counters').where({ name }).first('value');
  return Number(row?.value ?? 0);
}
