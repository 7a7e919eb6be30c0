import type { Knex } from 'knex';

/** Who is signed in to the console: a browser's cookie in place of the operator's token, for hours. */
export async function up(db: Knex): Promise<void> {
  await db.schema.createTable('console_sessions', (t) => {
    t.string('id', 36).primary();
    t.string('hash', 71).notNullable().unique(); // SHA-256 of the cookie's value
    t.string('token_id', 36).notNullable().index(); // operator_tokens.id: it counts only while that does
    t.bigInteger('created_at').notNullable();
    t.bigInteger('expires_at').notNullable().index();
  });
}
