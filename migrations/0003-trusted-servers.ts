import type { Knex } from 'knex';

/** Servers that never enrolled here and whose objects are taken all the same: what is above our parent, and what others vouched for. */
export async function up(db: Knex): Promise<void> {
  await db.schema.createTable('trusted_servers', (t) => {
    t.string('id', 36).primary();
    t.string('name', 63).notNullable();
    t.string('ca_pin', 71).notNullable();
    t.string('source', 16).notNullable(); // ancestor | endorsed
    t.string('voucher', 36).notNullable(); // the parent that told of an ancestor; the endorser
    t.integer('position').notNullable(); // ancestors: 0 is the parent's parent
    t.text('endorsement'); // core/sync-protocol.ts Endorsement, passed on as it came
    t.bigInteger('created_at').notNullable();
    t.string('origin', 36).notNullable();
    t.integer('revision').notNullable();
  });
}
