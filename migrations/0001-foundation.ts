import type { Knex } from 'knex';

/**
 * The first schema: who we are, whom we trust, what we hold, what we do. Ids are UUIDv7 text, times epoch
 * ms in bigint, digests text, documents JSON text. One statement list for SQLite and MySQL alike.
 */
export async function up(db: Knex): Promise<void> {
  await db.schema.createTable('settings', (t) => {
    t.string('key', 64).primary();
    t.text('value').notNullable();
  });
  // Servers we know: ourselves (`self`), the parent we pull from, the children we serve.
  await db.schema.createTable('servers', (t) => {
    t.string('id', 36).primary();
    t.string('name', 63).notNullable().unique();
    t.string('relation', 16).notNullable(); // self | parent | child
    t.string('state', 16).notNullable(); // active | revoked
    t.string('url', 512);
    t.string('ca_pin', 71);
    t.text('ca');
    t.string('certificate_key_id', 71); // SPKI digest of the client certificate in force (child) or ours (parent)
    t.string('signer_key_id', 71);
    t.bigInteger('created_at').notNullable();
    t.bigInteger('seen_at');
    t.string('origin', 36).notNullable();
    t.integer('revision').notNullable();
  });
  await db.schema.createTable('signers', (t) => {
    t.string('key_id', 71).primary();
    t.string('server_id', 36).notNullable().index();
    t.text('record').notNullable(); // core/sync-protocol.ts SignerRecord
    t.bigInteger('created_at').notNullable();
  });
  await db.schema.createTable('operator_tokens', (t) => {
    t.string('id', 36).primary();
    t.string('name', 63).notNullable();
    t.string('hash', 71).notNullable().unique(); // SHA-256 of the token; the token is shown once
    t.string('role', 16).notNullable();
    t.bigInteger('created_at').notNullable();
    t.bigInteger('expires_at');
    t.bigInteger('revoked_at');
  });
  await db.schema.createTable('enrol_tokens', (t) => {
    t.string('id', 36).primary();
    t.string('hash', 71).notNullable().unique();
    t.string('name', 63); // the only name it may be used for, when given
    t.bigInteger('created_at').notNullable();
    t.bigInteger('expires_at').notNullable();
    t.bigInteger('used_at');
    t.string('used_by', 36);
  });
  // Replicated objects: signed envelopes of every origin, ours included; `generation` is our own catalogue's.
  await db.schema.createTable('objects', (t) => {
    t.string('id', 36).primary();
    t.string('kind', 16).notNullable();
    t.string('origin', 36).notNullable();
    t.integer('revision').notNullable();
    t.text('body', 'longtext').notNullable();
    t.string('digest', 71).notNullable();
    t.string('key_id', 71).notNullable();
    t.string('signature', 128).notNullable();
    t.bigInteger('generation').notNullable().index();
    t.boolean('deleted').notNullable().defaultTo(false);
  });
  // What of an image object is here; name and version are copied from the body to be unique and found.
  await db.schema.createTable('images', (t) => {
    t.string('id', 36).primary(); // = objects.id
    t.string('origin', 36).notNullable();
    t.string('name', 63).notNullable();
    t.string('version', 63).notNullable();
    t.string('kind', 16).notNullable();
    t.string('arch', 16).notNullable();
    t.string('manifest', 71).notNullable();
    t.string('state', 16).notNullable(); // incoming | published | deleted
    t.bigInteger('size_bytes').notNullable();
    t.bigInteger('used_bytes').notNullable();
    t.bigInteger('stored_bytes').notNullable();
    t.bigInteger('created_at').notNullable();
    t.bigInteger('published_at');
    t.bigInteger('verified_at');
    t.unique(['name', 'version']);
  });
  await db.schema.createTable('links', (t) => {
    t.string('id', 36).primary();
    t.string('parent_id', 36).notNullable().unique(); // servers.id
    t.string('schedule', 128); // cron expression, null = off
    t.string('timezone', 64).notNullable();
    t.bigInteger('held_epoch').notNullable().defaultTo(0);
    t.bigInteger('held_generation').notNullable().defaultTo(0);
    t.bigInteger('due_at'); // the next scheduled run, kept so that a missed one is caught up
    t.bigInteger('last_run_at');
    t.string('origin', 36).notNullable();
    t.integer('revision').notNullable();
  });
  await db.schema.createTable('runs', (t) => {
    t.string('id', 36).primary();
    t.string('link_id', 36).notNullable().index();
    t.string('state', 32).notNullable();
    t.string('trigger', 16).notNullable(); // schedule | command | catch-up | resume
    t.bigInteger('fencing').notNullable();
    t.bigInteger('epoch').notNullable().defaultTo(0);
    t.bigInteger('generation').notNullable().defaultTo(0);
    t.text('plan', 'longtext'); // sync's own document: archive key, parts, what is done
    t.bigInteger('bytes_needed').notNullable().defaultTo(0);
    t.bigInteger('bytes_received').notNullable().defaultTo(0);
    t.bigInteger('bytes_sent').notNullable().defaultTo(0);
    t.bigInteger('bytes_rsync').notNullable().defaultTo(0);
    t.integer('requests').notNullable().defaultTo(0);
    t.bigInteger('started_at').notNullable();
    t.bigInteger('ended_at');
    t.text('error'); // {code, message, hint}
    t.text('progress');
  });
  await db.schema.createTable('leases', (t) => {
    t.string('name', 64).primary();
    t.string('holder', 64);
    t.bigInteger('fencing').notNullable();
    t.bigInteger('expires_at').notNullable();
  });
  await db.schema.createTable('targets', (t) => {
    t.string('id', 36).primary();
    t.string('name', 63).unique();
    t.string('uuid', 36).index();
    t.string('serial', 128).index();
    t.string('arch', 16);
    t.string('firmware', 16);
    t.string('environment', 16).notNullable().defaultTo('unknown'); // unknown | firmware | engine | disk
    t.string('activity', 64).notNullable().defaultTo('');
    t.text('inventory', 'longtext');
    t.string('discovered_by', 16).notNullable(); // dhcp | boot | agent | operator
    t.bigInteger('created_at').notNullable();
    t.bigInteger('seen_at');
    t.string('origin', 36).notNullable();
    t.integer('revision').notNullable();
  });
  await db.schema.createTable('target_macs', (t) => {
    t.string('mac', 17).primary();
    t.string('target_id', 36).notNullable().index();
  });
  // One row per boot script given out; the id is public and carries no right of its own.
  await db.schema.createTable('boots', (t) => {
    t.string('id', 36).primary();
    t.string('target_id', 36).notNullable().index();
    t.string('what', 16).notNullable(); // engine | disk
    t.bigInteger('created_at').notNullable();
  });
  // The first key that says hello for a target binds until its order ends (or a new boot without an order).
  await db.schema.createTable('agent_keys', (t) => {
    t.string('target_id', 36).primary();
    t.string('key_id', 71).notNullable().unique();
    t.string('boot_id', 36).notNullable();
    t.string('state', 16).notNullable(); // bound | waiting (for the operator's approval)
    t.string('order_id', 36); // the order whose task this key holds
    t.bigInteger('bound_at').notNullable();
    t.bigInteger('seen_at').notNullable();
    t.string('refused_key_id', 71); // the last other key that was turned away, shown on the target
    t.bigInteger('refused_at');
  });
  await db.schema.createTable('jobs', (t) => {
    t.string('id', 36).primary();
    t.string('name', 63).notNullable();
    t.boolean('builtin').notNullable();
    t.bigInteger('created_at').notNullable();
    t.string('origin', 36).notNullable();
    t.integer('revision').notNullable();
  });
  await db.schema.createTable('tasks', (t) => {
    t.string('id', 36).primary();
    t.string('job_id', 36).notNullable().index();
    t.integer('position').notNullable();
    t.string('kind', 32).notNullable(); // deploy
    t.string('environment', 16).notNullable(); // engine
    t.text('params').notNullable();
  });
  await db.schema.createTable('orders', (t) => {
    t.string('id', 36).primary();
    t.string('job_id', 36).notNullable();
    t.string('target_id', 36).notNullable().index();
    t.string('image_id', 36).notNullable();
    t.string('image_reference', 128).notNullable(); // name@version, resolved once
    t.string('manifest', 71).notNullable();
    t.string('state', 16).notNullable().index();
    t.integer('revision').notNullable();
    t.string('origin', 36).notNullable();
    t.string('nonce', 64).notNullable(); // given to the bound agent only, over TLS
    t.boolean('disk_written').notNullable().defaultTo(false); // the agent's `verified` arrived
    t.bigInteger('verified_at');
    t.text('progress');
    t.text('error');
    t.text('figures');
    t.bigInteger('created_at').notNullable();
    t.bigInteger('updated_at').notNullable();
    t.bigInteger('ended_at');
  });
  // One active order per target: the row exists while the order is not ended.
  await db.schema.createTable('active_orders', (t) => {
    t.string('target_id', 36).primary();
    t.string('order_id', 36).notNullable().unique();
  });
  await db.schema.createTable('events', (t) => {
    t.string('origin', 36).notNullable();
    t.bigInteger('seq').notNullable();
    t.bigInteger('at').notNullable();
    t.string('actor', 128).notNullable();
    t.string('kind', 64).notNullable();
    t.string('subject', 64).notNullable();
    t.text('data').notNullable();
    t.primary(['origin', 'seq']);
    t.index(['subject']);
  });
}
