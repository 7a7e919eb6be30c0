import type { Knex } from 'knex';

/**
 * What servers know of one another (docs/decisions/0024): who they are, what they made, tell and ask, and who does what
 * must be done once. Ids are UUIDv7 text, times epoch ms in bigint (`heartbeat_at`, `registered_at` and `expires_at` by the
 * database's clock), digests text, documents JSON text. Each table is one statement with all its keys, because servers that
 * do this at the same time, or were killed at it, must find each table whole or not at all.
 */
const TABLES: readonly string[] = [
  `shared_servers (
    id varchar(36) not null,
    name varchar(63) not null,
    state varchar(16) not null, -- active | retired | fenced
    url varchar(512),
    ca_pin varchar(71) not null,
    ca text not null, -- PEM
    signer text not null, -- core/sync-protocol.ts SignerRecord
    version varchar(32) not null,
    parent_id varchar(36), -- the wished parent
    parent_revision integer not null,
    parent_by varchar(16), -- operator | file
    epoch bigint not null,
    heartbeat_at bigint, -- null: it has never run
    registered_at bigint not null,
    silent_at bigint, -- when it was told that it is silent; null: it is not, or nobody noticed yet
    report longtext, -- core/control-protocol.ts ServerReport
    enrol longtext, -- the enrolment at the wished parent: request, answer
    revision integer not null, -- of name, state, parent and enrolment; a heartbeat is no change
    primary key (id), unique (name))`,
  // Numbers without gaps that rise with the commits: the row stays locked until the transaction ends.
  `shared_counters (
    name varchar(64) not null, -- objects | reports | events | commands:<server>
    value bigint not null,
    primary key (name))`,
  `shared_objects (
    id varchar(36) not null,
    kind varchar(16) not null,
    origin varchar(36) not null,
    revision integer not null,
    body longtext not null,
    digest varchar(71) not null,
    key_id varchar(71) not null,
    signature varchar(128) not null,
    deleted smallint not null,
    mark bigint not null,
    primary key (id), unique (mark), unique (origin, mark))`,
  // How far each stream of each origin is told here: what a server asks after every outage.
  `shared_marks (
    origin varchar(36) not null,
    stream varchar(16) not null, -- events | states
    seq bigint not null,
    primary key (origin, stream))`,
  `shared_reports (
    origin varchar(36) not null,
    kind varchar(32) not null,
    subject varchar(64) not null,
    seq bigint not null,
    body longtext, -- null: it is gone there
    at bigint not null,
    mark bigint not null,
    primary key (origin, kind, subject), unique (mark), unique (origin, mark))`,
  `shared_events (
    origin varchar(36) not null,
    seq bigint not null,
    at bigint not null,
    actor varchar(128) not null,
    kind varchar(64) not null,
    subject varchar(64) not null,
    data longtext not null,
    mark bigint not null,
    primary key (origin, seq), unique (mark), unique (origin, mark))`,
  // One numbered queue for each server.
  `shared_commands (
    dest varchar(36) not null,
    seq bigint not null,
    id varchar(36) not null,
    kind varchar(32) not null,
    body longtext not null,
    actor varchar(128) not null,
    origin varchar(36) not null,
    created_at bigint not null,
    primary key (dest, seq), unique (id))`,
  `shared_leases (
    name varchar(64) not null,
    holder varchar(64),
    fencing bigint not null,
    expires_at bigint not null,
    primary key (name))`,
];

export async function up(db: Knex): Promise<void> {
  for (const table of TABLES) await db.raw(`create table if not exists ${table}${optionsFor(db)}`);
}

/** What the database's defaults may say otherwise: transactions, and names that compare octet by octet. */
function optionsFor(db: Knex): string {
  const isMysql = (db.client as { dialect: string }).dialect === 'mysql';
  return isMysql ? ' engine=InnoDB default character set utf8mb4 collate utf8mb4_bin' : '';
}
