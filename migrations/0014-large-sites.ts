import type { Knex } from 'knex';

/** What was looked for row by row among ten thousand machines and a hundred thousand orders. */
export async function up(db: Knex): Promise<void> {
  await db.schema.alterTable('targets', (t) => {
    t.index(['created_at']);
  });
  await db.schema.alterTable('orders', (t) => {
    t.index(['managed_by', 'id']);
  });
  await db.schema.alterTable('reported', (t) => {
    t.string('target_id', 36); // of an order
    t.index(['kind', 'target_id', 'subject']);
  });
  await noteTargets(db);
}

const AT_ONCE = 500;

/** Orders that are here already belong to a target as well. */
async function noteTargets(db: Knex): Promise<void> {
  for (let last: { origin: string; subject: string } | undefined; ; ) {
    const page = db('reported').where({ kind: 'order' }).orderBy(['subject', 'origin']).limit(AT_ONCE);
    if (last !== undefined) page.whereRaw('(subject, origin) > (?, ?)', [last.subject, last.origin]);
    const rows: { origin: string; subject: string; body: string | null }[] = await page.select('origin', 'subject', 'body');
    for (const { origin, subject, body } of rows) {
      const { targetId } = (JSON.parse(body ?? '{}') ?? {}) as { targetId?: unknown };
      if (typeof targetId === 'string' && targetId.length <= 36)
        await db('reported').where({ origin, kind: 'order', subject }).update({ target_id: targetId });
    }
    last = rows.at(-1);
    if (rows.length < AT_ONCE) return;
  }
}
