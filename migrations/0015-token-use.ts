import type { Knex } from 'knex';

/** When an operator's token was last shown, so that one that nobody needs any more is seen. */
export async function up(db: Knex): Promise<void> {
  await db.schema.alterTable('operator_tokens', (t) => {
    t.bigInteger('last_used_at'); // to the minute; null: never
  });
}
