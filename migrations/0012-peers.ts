import type { Knex } from 'knex';

/**
 * Our copy of what a shared database says of the servers that meet there (docs/decisions/0025): so that a name is found and a
 * command is made while it is away. `ca_pin` is what was seen first, for good.
 */
export async function up(db: Knex): Promise<void> {
  await db.schema.createTable('peers', (t) => {
    t.string('id', 36).primary();
    t.string('name', 63).notNullable().index();
    t.string('state', 16).notNullable(); // active | retired | fenced
    t.string('url', 512);
    t.string('ca_pin', 71).notNullable();
    t.text('signer').notNullable(); // core/sync-protocol.ts SignerRecord
    t.string('parent_id', 36); // the wished parent
    t.integer('parent_revision').notNullable(); // 0: nobody wished anything yet
    t.string('parent_by', 16); // operator | file
    t.integer('revision').notNullable(); // of its row there
    t.bigInteger('held_objects').notNullable().defaultTo(0); // how far its objects are known here, by its numbers
    t.bigInteger('first_at').notNullable();
  });
}
