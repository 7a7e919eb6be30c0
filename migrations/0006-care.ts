import type { Knex } from 'knex';

/** Care of the content store: passes of the scrub, and what the store held on each day. */
export async function up(db: Knex): Promise<void> {
  // A pass over the whole store; the one without an end is under way.
  await db.schema.createTable('scrubs', (t) => {
    t.string('id', 36).primary();
    t.string('pack', 64); // where it goes on: a pack or what comes behind it; null = at the beginning
    t.bigInteger('pack_offset').notNullable().defaultTo(0);
    t.bigInteger('bytes').notNullable().defaultTo(0); // read so far
    t.bigInteger('chunks').notNullable().defaultTo(0);
    t.integer('damages').notNullable().defaultTo(0);
    t.bigInteger('started_at').notNullable();
    t.bigInteger('ended_at');
    t.string('origin', 36).notNullable().index();
    t.integer('revision').notNullable();
  });
  // One measurement for each day (UTC) and server; the last of the day stays.
  await db.schema.createTable('store_samples', (t) => {
    t.string('origin', 36).notNullable();
    t.string('day', 10).notNullable(); // 2027-01-31
    t.bigInteger('at').notNullable();
    t.bigInteger('used_bytes').notNullable();
    t.primary(['origin', 'day']);
  });
}
