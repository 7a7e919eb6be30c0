import type { Knex } from 'knex';

/**
 * What travels between servers besides content: what changed here and is told upwards, what children told us, and what
 * is on its way down to them (docs/decisions/0016).
 */
export async function up(db: Knex): Promise<void> {
  await db.schema.createTable('counters', (t) => {
    t.string('name', 32).primary();
    t.bigInteger('value').notNullable();
  });
  await db('counters').insert({ name: 'outbox', value: 0 });
  // The number of the last change of each thing that is told upwards; what it is now is read when it is sent.
  await db.schema.createTable('outbox', (t) => {
    t.string('kind', 32).notNullable(); // target | order | server
    t.string('subject', 64).notNullable();
    t.bigInteger('seq').notNullable().unique();
    t.primary(['kind', 'subject']);
  });
  // Servers below us that reported, by whose connection.
  await db.schema.createTable('origins', (t) => {
    t.string('id', 36).primary();
    t.string('via', 36).notNullable().index(); // servers.id of our child; the server itself when it is one
    t.bigInteger('first_at').notNullable();
    t.bigInteger('seen_at').notNullable();
  });
  // How far each stream of each origin is stored here: the parent's side of "exactly once".
  await db.schema.createTable('report_marks', (t) => {
    t.string('origin', 36).notNullable();
    t.string('stream', 16).notNullable(); // events | states
    t.bigInteger('seq').notNullable();
    t.primary(['origin', 'stream']);
  });
  // What servers below us say of their own things: their word, never ours to change.
  await db.schema.createTable('reported', (t) => {
    t.string('origin', 36).notNullable();
    t.string('kind', 32).notNullable();
    t.string('subject', 64).notNullable();
    t.bigInteger('seq').notNullable();
    t.text('body', 'longtext'); // null: it is gone there
    t.bigInteger('at').notNullable();
    t.primary(['origin', 'kind', 'subject']);
    t.index(['kind', 'subject']);
    t.index(['origin', 'seq']);
  });
  // By what a reported target is found: name, UUID, MAC addresses.
  await db.schema.createTable('reported_words', (t) => {
    t.string('origin', 36).notNullable();
    t.string('subject', 36).notNullable();
    t.string('word', 64).notNullable().index();
    t.primary(['origin', 'subject', 'word']);
  });
  // What was made here for servers below us, one numbered queue for each child; gone once the child has it.
  await db.schema.createTable('control_queue', (t) => {
    t.string('child_id', 36).notNullable();
    t.bigInteger('seq').notNullable();
    t.string('id', 36).notNullable();
    t.string('dest', 36).notNullable(); // whom it is for: the child, or a server behind it
    t.string('kind', 32).notNullable();
    t.text('body', 'longtext').notNullable();
    t.string('actor', 128).notNullable();
    t.string('origin', 36).notNullable(); // who made it
    t.bigInteger('created_at').notNullable();
    t.primary(['child_id', 'seq']);
  });
  await db.schema.createTable('control_marks', (t) => {
    t.string('peer_id', 36).notNullable(); // servers.id
    t.string('direction', 8).notNullable(); // down: the last number given to a child; applied: the last one of a parent done here
    t.bigInteger('seq').notNullable();
    t.primary(['peer_id', 'direction']);
  });
  await db.schema.alterTable('targets', (t) => {
    t.string('group_name', 63);
  });
  await db.schema.alterTable('orders', (t) => {
    t.string('managed_by', 36); // the server above us where it was made
    t.text('waits_for'); // in words, while it is planned
  });
  await noteWhatIsThere(db);
}

/** What was made before there was an outbox is told as well. */
async function noteWhatIsThere(db: Knex): Promise<void> {
  let seq = 0;
  for (const [kind, table] of [
    ['target', 'targets'],
    ['order', 'orders'],
  ] as const) {
    for (const { id } of await db(table).orderBy('id').select('id')) {
      seq += 1;
      await db('outbox').insert({ kind, subject: id, seq });
    }
  }
  await db('counters').where({ name: 'outbox' }).update({ value: seq });
}
