import type { Knex } from 'knex';

/** Images made at a branch that are to become everybody's: the branch's side, and the side of the server above that decides. */
export async function up(db: Knex): Promise<void> {
  await db.schema.createTable('offers', (t) => {
    t.string('image_id', 36).primary(); // = objects.id, an image of our own
    t.string('state', 16).notNullable(); // offered | approved | refused | published | failed
    t.text('words'); // why it was refused or failed
    t.bigInteger('created_at').notNullable();
    t.bigInteger('updated_at').notNullable();
    t.string('origin', 36).notNullable();
    t.integer('revision').notNullable();
  });
  await db.schema.createTable('approvals', (t) => {
    t.string('image_id', 36).primary();
    t.string('from_id', 36).notNullable(); // the server that offers
    t.string('state', 16).notNullable(); // approved | refused | published | failed
    t.string('actor', 128).notNullable();
    t.text('plan', 'longtext'); // sync's own document, as in runs
    t.text('progress');
    t.text('words');
    t.bigInteger('created_at').notNullable();
    t.bigInteger('updated_at').notNullable();
    t.string('origin', 36).notNullable();
    t.integer('revision').notNullable();
  });
}
