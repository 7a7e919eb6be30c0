import type { Knex } from 'knex';

const AT_ONCE = 100;

/** What servers below call themselves is found as their targets are: by `reported_words`, where subject is the server itself. */
export async function up(db: Knex): Promise<void> {
  for (let last = ''; ; ) {
    const rows: { origin: string; body: string | null }[] = await db('reported')
      .where({ kind: 'server' })
      .where('subject', '>', last)
      .where('origin', db.ref('subject'))
      .orderBy('subject')
      .limit(AT_ONCE)
      .select('origin', 'body');
    for (const { origin, body } of rows) {
      const { name } = (JSON.parse(body ?? '{}') ?? {}) as { name?: unknown };
      if (typeof name === 'string' && name.length <= 64) await db('reported_words').insert({ origin, subject: origin, word: name });
    }
    last = rows.at(-1)?.origin ?? '';
    if (rows.length < AT_ONCE) return;
  }
}
