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
    parent_file varchar(320), -- which, and of which server
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
    name varchar(64) not null, -- streams | tree
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
    seq bigint not null, -- the number that its origin gave to the change
    primary key (id), unique (origin, seq, id))`,
  // The signing keys of a server, the former ones too: what it signed with them is still believed.
  `shared_signers (
    key_id varchar(71) not null,
    server_id varchar(36) not null,
    record text not null, -- core/sync-protocol.ts SignerRecord
    primary key (key_id), unique (server_id, key_id))`,
  // How far each stream of each origin is told here: what a server asks after every outage. `mark` numbers the moves of all streams.
  `shared_marks (
    origin varchar(36) not null,
    stream varchar(16) not null, -- events | states | objects
    seq bigint not null,
    mark bigint not null,
    primary key (origin, stream), unique (mark, origin, stream))`,
  `shared_reports (
    origin varchar(36) not null,
    kind varchar(32) not null,
    subject varchar(64) not null,
    seq bigint not null,
    body longtext, -- null: it is gone there
    at bigint not null,
    primary key (origin, kind, subject), unique (origin, seq, kind, subject))`,
  // By what a reported target is found: name, UUID, MAC addresses.
  `shared_words (
    word varchar(64) not null,
    origin varchar(36) not null,
    subject varchar(64) not null,
    primary key (word, origin, subject), unique (origin, subject, word))`,
  `shared_events (
    origin varchar(36) not null,
    seq bigint not null,
    at bigint not null,
    actor varchar(128) not null,
    kind varchar(64) not null,
    subject varchar(64) not null,
    data longtext not null,
    primary key (origin, seq), unique (at, origin, seq))`,
  // A queue from each server to each other, numbered by the sender, who keeps what it sent until it is done.
  `shared_commands (
    receiver varchar(36) not null,
    sender varchar(36) not null,
    seq bigint not null,
    after bigint not null, -- what must be done before; 0: nothing
    id varchar(36) not null,
    dest varchar(36) not null, -- whom it is for: the receiver, or a server below it
    kind varchar(32) not null,
    body longtext not null,
    actor varchar(128) not null,
    origin varchar(36) not null,
    created_at bigint not null,
    key_id varchar(71) not null,
    signature varchar(128) not null, -- by the sender
    primary key (receiver, sender, seq))`,
  // How far a receiver has done what a sender asked.
  `shared_done (
    sender varchar(36) not null,
    receiver varchar(36) not null,
    seq bigint not null,
    primary key (sender, receiver), unique (receiver, sender))`,
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
