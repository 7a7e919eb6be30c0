import type { Knex } from 'knex';

/** By which a child sees that a generation is not the one that it took: a master restored from a backup gives numbers a second time. */
export async function up(db: Knex): Promise<void> {
  await db.schema.createTable('catalogue_marks', (t) => {
    t.bigInteger('generation').primary();
    t.string('mark', 16).notNullable(); // random, made with the generation
  });
  await db.schema.alterTable('links', (t) => {
    t.string('held_mark', 16); // of the generation that is held; null: the parent told none
  });
}
