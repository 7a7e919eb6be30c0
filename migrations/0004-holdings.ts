import type { Knex } from 'knex';

/**
 * What a site holds: which images it wants content of, which version of a name is the default, where content may also
 * come from, and who has not synced for too long.
 */
export async function up(db: Knex): Promise<void> {
  await db.schema.alterTable('links', (t) => {
    t.text('scope'); // core/scope.ts Scope; null = everything
    t.text('ancestors'); // ids from the parent up to the root, as the parent told
    t.integer('ring'); // ours, as the parent told; null = the last to get a version
    t.boolean('after_parent').notNullable().defaultTo(false); // a run starts when the parent has published
    t.bigInteger('rate_bytes'); // octets per second of the last good transfer from the parent
  });
  await db.schema.alterTable('servers', (t) => {
    t.integer('ring'); // of a child
    t.bigInteger('told_epoch'); // the catalogue that we last told a child …
    t.bigInteger('told_generation');
    t.bigInteger('synced_at'); // … and when it last showed that it holds all it was told
    t.boolean('content_only').notNullable().defaultTo(false); // takes content from us, is no child of ours
  });
  await db.schema.alterTable('images', (t) => {
    // state also: known = its object is here, its content is not wanted or not to be had
    t.boolean('waiting').notNullable().defaultTo(false); // held and verified, not visible yet
    t.bigInteger('activation').notNullable().defaultTo(0); // counts up for each name: the highest is the default
    t.bigInteger('activate_at'); // set at this site, in place of what the object says
    t.text('error'); // {code, message, hint}: what last went wrong for this image
  });
  // At most one choice of an operator for a name; without one the highest activation is the default.
  await db.schema.createTable('image_choices', (t) => {
    t.string('name', 63).primary();
    t.string('mode', 16).notNullable(); // pinned | rolled-back
    t.string('image_id', 36).notNullable().index();
    t.bigInteger('chosen_at').notNullable();
    t.string('actor', 128).notNullable();
    t.string('origin', 36).notNullable();
    t.integer('revision').notNullable();
  });
  // Further servers that content may come from; never a parent.
  await db.schema.createTable('sources', (t) => {
    t.string('server_id', 36).primary();
    t.string('name', 63).notNullable().unique();
    t.string('url', 512).notNullable();
    t.string('ca_pin', 71).notNullable();
    t.string('certificate_key_id', 71).notNullable(); // SPKI digest of the client certificate that it gave us
    t.bigInteger('rate_bytes');
    t.bigInteger('created_at').notNullable();
    t.string('origin', 36).notNullable();
    t.integer('revision').notNullable();
  });
  await db.schema.alterTable('runs', (t) => {
    t.text('sources'); // [{server, name, bytesReceived, bytesRsync}]: who gave how much
  });
  // One row while a site is not synced; it goes when it is again.
  await db.schema.createTable('sync_alarms', (t) => {
    t.string('server_id', 36).primary();
    t.bigInteger('raised_at').notNullable();
  });
}
