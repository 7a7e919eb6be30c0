import type { Knex } from 'knex';

/** Who was promoted in the place of whom: a table of its own, so that one statement makes it, harmless to repeat. */
const TABLE = `shared_successions (
  predecessor varchar(36) not null,
  successor varchar(36) not null,
  at bigint not null, -- the database's clock
  actor varchar(128) not null,
  asked_at varchar(36) not null, -- the server where it was asked for
  objects bigint not null, -- how far the predecessor's objects were told
  primary key (predecessor))`;

export async function up(db: Knex): Promise<void> {
  const isMysql = (db.client as { dialect: string }).dialect === 'mysql';
  await db.raw(`create table if not exists ${TABLE}${isMysql ? ' engine=InnoDB default character set utf8mb4 collate utf8mb4_bin' : ''}`);
}
