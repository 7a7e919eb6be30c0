import type { Knex } from 'knex';

/** Windows, caps and pauses of a link; which runs keep to them; what a parent grants each child. */
export async function up(db: Knex): Promise<void> {
  await db.schema.alterTable('links', (t) => {
    t.string('may_start', 16); // 22:00-04:00 on the clock of the link's time zone; null = always
    t.string('must_stop', 8); // 06:00; null = never
    t.string('late', 8).notNullable().defaultTo('chain'); // chain | skip
    t.bigInteger('cap_bps'); // bits per second, null = none
    t.string('office_hours', 64); // mon-fri 08:00-18:00; null = the cap holds always
    t.bigInteger('office_bps'); // inside office hours; null = none there
    t.bigInteger('paused_at');
    t.string('paused_by', 128);
    t.bigInteger('owed_since'); // the due time of a run that is late
    t.string('owed_why', 16); // running | window | paused
    t.text('forecast'); // {bytes, exact, at}: what the parent last said we lack
  });
  await db.schema.alterTable('runs', (t) => {
    t.boolean('in_window').notNullable().defaultTo(false); // it stops when the link's window says so
  });
  await db.schema.alterTable('servers', (t) => {
    t.integer('priority').notNullable().defaultTo(10); // a child's share of our egress, 1 to 100
    t.bigInteger('paused_at'); // a child that is given no content
    t.string('paused_by', 128);
  });
}
