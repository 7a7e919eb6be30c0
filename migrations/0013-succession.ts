import type { Knex } from 'knex';

/** Which server took the place of which, as far as it is believed here (docs/decisions/0028): its signature counts for what the other one made. */
export async function up(db: Knex): Promise<void> {
  await db.schema.createTable('successions', (t) => {
    t.string('predecessor', 36).primary();
    t.string('predecessor_name', 63).notNullable();
    t.string('successor', 36).notNullable().index();
    t.string('successor_name', 63).notNullable();
    t.string('ground', 16).notNullable(); // promoted (here) | database | token | deputy
    t.bigInteger('at').notNullable(); // of the promotion
    t.bigInteger('objects'); // how far the predecessor's objects were told in the shared database then
    t.boolean('adopting').notNullable().defaultTo(false); // we are the successor and not all is signed anew yet
  });
  // The few objects of a kind are looked at every few seconds, among any number of images.
  await db.schema.alterTable('objects', (t) => {
    t.index(['kind', 'origin']);
  });
}
