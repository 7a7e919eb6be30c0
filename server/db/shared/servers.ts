import type { Knex } from 'knex';
import type { Json } from '../../../core/canonical-json.ts';
import type { Digest, Id, Name } from '../../../core/ids.ts';
import type { SignerRecord } from '../../../core/sync-protocol.ts';
import { databaseTime } from '../dialect-time.ts';
import { newestNumber, takeNumbers } from './counters.ts';
import { boundedText, LATEST_MS, readDocumentText } from './documents.ts';
import { chunks } from './reports.ts';

/** What a server says of itself when it registers. */
export type Registration = {
  readonly id: Id;
  readonly name: Name;
  /** Base URL of its HTTPS listener; null while it has told none. */
  readonly url: string | null;
  readonly caPin: Digest;
  /** PEM. */
  readonly ca: string;
  readonly signer: SignerRecord;
  readonly version: string;
  readonly epoch: number;
};

/** `active`; `retired`: it left; `fenced`: another took its place, and it must write nothing. */
export type SharedServerState = 'active' | 'retired' | 'fenced';

/** A server of the shared database. Times are the database's, epoch ms. */
export type SharedServer = Registration & {
  readonly state: SharedServerState;
  /** The wished parent. */
  readonly parentId: Id | null;
  readonly parentRevision: number;
  readonly parentBy: 'operator' | 'file' | null;
  /** When a file says so: which, and of which server, in words. */
  readonly parentFile: string | null;
  readonly heartbeatAt: number | null;
  readonly registeredAt: number;
  /** When it was told that this server is silent; null: it is not, or nobody noticed yet. */
  readonly silentAt: number | null;
  /** core/control-protocol.ts ServerReport, unchecked: of a server of any release. */
  readonly report: Json;
  /** The enrolment at the wished parent. */
  readonly enrol: Json;
  /** Counts changes of name, state, parent and enrolment. */
  readonly revision: number;
};

/** Numbers the changes of the registry. */
const CHANGES = 'registry';

/**
 * The number of the registry's newest change: while it is the same, nobody came, left, moved or is to have another parent. One row,
 * however many servers meet there: what each of them asks every two seconds.
 */
export function registryNumber(db: Knex): Promise<number> {
  return newestNumber(db, CHANGES);
}

/** To be called by whoever changes what others follow of a row; a heartbeat is nothing of that. Gives `changed`, as it came. */
async function noted(db: Knex, changed: number): Promise<boolean> {
  if (changed > 0) await takeNumbers(db, CHANGES, 1);
  return changed === 1;
}

/** Adds a server. An id or a name that is there already breaks a unique key. */
export async function insertSharedServer(db: Knex, server: Registration): Promise<void> {
  const row = { ...toRow(server), state: 'active', parent_revision: 0, revision: 1 };
  await db('shared_servers').insert({ ...row, registered_at: databaseTime(db) });
  await noted(db, 1);
}

/** Writes what a server says of itself over what it said before; false when there is no such row, or it is fenced. */
export async function updateRegistration(db: Knex, server: Registration): Promise<boolean> {
  const { id, ...row } = toRow(server);
  const said = { ...row, state: 'active' };
  // Who comes back after an outage says what it said before: 500 of them at once are no news to one another.
  if (
    (await db('shared_servers')
      .where({ id, ...said })
      .first('id')) !== undefined
  )
    return true;
  return noted(db, await db('shared_servers').where({ id }).whereNot({ state: 'fenced' }).update(said));
}

/** The server lives. `report` is left as it is when undefined. False when it is not active (any more). */
export async function beat(db: Knex, id: Id, report?: object): Promise<boolean> {
  const told = report === undefined ? {} : { report: JSON.stringify(report) };
  const changed = await db('shared_servers')
    .where({ id, state: 'active' })
    .update({ heartbeat_at: databaseTime(db), ...told });
  return changed === 1;
}

export async function getSharedServer(db: Knex, id: Id): Promise<SharedServer | undefined> {
  const [row] = await wholeRows(db).where({ id });
  return row && fromRow(row);
}

/** What a server is there; undefined when it never registered. */
export async function readSharedState(db: Knex, id: Id): Promise<SharedServerState | undefined> {
  return (await db('shared_servers').where({ id }).first('state'))?.state;
}

export async function findSharedServer(db: Knex, name: string): Promise<SharedServer | undefined> {
  const [row] = await wholeRows(db).where({ name });
  return row && fromRow(row);
}

/** All of them, retired ones too, by name. */
export async function listSharedServers(db: Knex): Promise<SharedServer[]> {
  return (await wholeRows(db).orderBy('name').limit(MOST_SERVERS)).map(fromRow);
}

/** More than meet anywhere, those that left included. Somebody with a login may make up servers without end: nobody reads or keeps more of them. */
export const MOST_SERVERS = 5_000;

const PLAIN = [
  ...['id', 'name', 'state', 'url', 'ca_pin', 'version', 'parent_id', 'parent_revision', 'parent_by', 'parent_file', 'epoch'],
  ...['heartbeat_at', 'registered_at', 'silent_at', 'revision'],
];

function wholeRows(db: Knex): Knex.QueryBuilder {
  return db('shared_servers').select(...PLAIN, 'ca', 'signer', boundedText(db, 'report'), boundedText(db, 'enrol'));
}

/** As `listSharedServers`, without the documents: what a list of 500 servers needs often. */
export async function listSharedTree(db: Knex): Promise<Omit<SharedServer, 'report' | 'enrol' | 'signer' | 'ca'>[]> {
  const rows = await db('shared_servers').orderBy('name').limit(MOST_SERVERS).select(PLAIN);
  return rows.map((row) => {
    const { report: _report, enrol: _enrol, signer: _signer, ca: _ca, ...server } = fromRow({ ...row, ca: '', signer: 'null' });
    return server;
  });
}

/** `file`: which file says so, and of which server, in words; null for an operator. */
export type ParentWish = { readonly parentId: Id | null; readonly file: string | null; readonly revision: number };

/** Wishes a parent for a server whose row is still at `revision`; what was enrolled for the one before is forgotten. False when it is not. */
export async function wishParent(db: Knex, id: Id, { parentId, file, revision }: ParentWish): Promise<boolean> {
  const changed = await db('shared_servers')
    .where({ id, revision })
    .update({ parent_id: parentId, parent_by: file === null ? 'operator' : 'file', parent_file: file, enrol: null })
    .increment({ revision: 1, parent_revision: 1 });
  return noted(db, changed);
}

/** These servers, without what they say of how they are. */
export async function listSharedServersOf(db: Knex, ids: readonly Id[]): Promise<Omit<SharedServer, 'report'>[]> {
  const found: Omit<SharedServer, 'report'>[] = [];
  for (const some of chunks(ids)) {
    const rows = await db('shared_servers')
      .whereIn('id', some)
      .select(...PLAIN, 'ca', 'signer', boundedText(db, 'enrol'));
    for (const row of rows) {
      const { report: _report, ...server } = fromRow(row);
      found.push(server);
    }
  }
  return found;
}

/**
 * The revision of a server's row, which nobody else changes until the transaction ends; undefined when it is gone. In a cluster
 * that holds for a transaction that then writes the row: another node knows of no lock.
 */
export async function lockSharedServer(trx: Knex.Transaction, id: Id): Promise<number | undefined> {
  const row = await trx('shared_servers').where({ id }).forUpdate().first('revision');
  return row && Number(row.revision);
}

/** Gives a server's parent back to the operators; what is wished stays. */
export async function releaseParent(db: Knex, id: Id): Promise<void> {
  const row = db('shared_servers').where({ id, parent_by: 'file' });
  await noted(db, await row.update({ parent_by: 'operator', parent_file: null }).increment('revision', 1));
}

/** Writes the state of the enrolment; false when the row is no longer at `revision`. */
export async function setEnrolment(db: Knex, id: Id, { enrol, revision }: { enrol: Json; revision: number }): Promise<boolean> {
  const changed = await db('shared_servers')
    .where({ id, revision })
    .update({ enrol: enrol === null ? null : JSON.stringify(enrol) })
    .increment('revision', 1);
  return noted(db, changed);
}

/** False when the row is no longer in state `from`. */
export async function setSharedState(db: Knex, id: Id, { from, to }: { from: SharedServerState; to: SharedServerState }): Promise<boolean> {
  return noted(db, await db('shared_servers').where({ id, state: from }).update({ state: to }).increment('revision', 1));
}

/** Gives the name of a server that left to whoever wants it: it is called by its id from now on. False when it is not `from`. */
export async function freeName(db: Knex, { id, name, revision }: Pick<SharedServer, 'id' | 'name' | 'revision'>): Promise<boolean> {
  return noted(db, await db('shared_servers').where({ id, name, revision }).update({ name: id }).increment('revision', 1));
}

export type Silence = Pick<SharedServer, 'id' | 'name'> & { readonly heartbeatAt: number };

/** Active servers that were not heard for `silentMs` and of which nobody told it yet. */
export async function listNewlySilent(db: Knex, silentMs: number): Promise<Silence[]> {
  const rows = await db('shared_servers')
    .where({ state: 'active', silent_at: null })
    .whereBetween('heartbeat_at', [0, db.raw('(?) - ?', [databaseTime(db), silentMs + 1])])
    .limit(MOST_SERVERS)
    .select('id', 'name', 'heartbeat_at');
  return rows.map(({ id, name, heartbeat_at }) => ({ id, name, heartbeatAt: Number(heartbeat_at) }));
}

/** Servers that were told to be silent and were heard since. */
export async function listHeardAgain(db: Knex): Promise<Silence[]> {
  const rows = await db('shared_servers')
    .where('heartbeat_at', '>', db.ref('silent_at'))
    .where('heartbeat_at', '<=', databaseTime(db))
    .limit(MOST_SERVERS)
    .select('id', 'name', 'heartbeat_at');
  return rows.map(({ id, name, heartbeat_at }) => ({ id, name, heartbeatAt: Number(heartbeat_at) }));
}

/** Notes that it was told; false when another heartbeat came, or somebody noted it before. */
export async function noteSilence(db: Knex, { id, heartbeatAt }: Silence, isSilent: boolean): Promise<boolean> {
  const row = db('shared_servers').where({ id, heartbeat_at: heartbeatAt });
  const changed = isSilent
    ? await row.whereNull('silent_at').update({ silent_at: databaseTime(db) })
    : await row.whereNotNull('silent_at').update({ silent_at: null });
  return changed === 1;
}

/** Forgets a server that never ran; false when it did. */
export async function removeUnused(db: Knex, id: Id): Promise<boolean> {
  return noted(db, await db('shared_servers').where({ id, heartbeat_at: null }).delete());
}

function toRow({ id, name, url, caPin, ca, signer, version, epoch }: Registration) {
  return { id, name, url, ca_pin: caPin, ca, signer: JSON.stringify(signer), version: version.slice(0, 32), epoch };
}

type Row = {
  id: Id;
  name: Name;
  state: SharedServerState;
  url: string | null;
  ca_pin: Digest;
  ca: string;
  signer: string;
  version: string;
  parent_id: Id | null;
  parent_revision: number;
  parent_by: SharedServer['parentBy'];
  parent_file: string | null;
  epoch: number | string;
  heartbeat_at: number | string | null;
  registered_at: number | string;
  silent_at: number | string | null;
  report?: string | null;
  enrol?: string | null;
  revision: number;
};

/** A time that a Date can hold; the nearest one for what is none. */
function timeOf(value: number | string | null): number | null {
  return value === null ? null : Math.min(Math.max(Number(value), 0), LATEST_MS);
}

function fromRow(row: Row): SharedServer {
  const { id, name, state, url, ca, version } = row;
  return {
    ...{ id, name, state, url, ca, version },
    caPin: row.ca_pin,
    signer: readDocumentText(row.signer) as SignerRecord, // checked by who believes in it
    epoch: Number(row.epoch),
    parentId: row.parent_id,
    parentRevision: row.parent_revision,
    parentBy: row.parent_by,
    parentFile: row.parent_file,
    heartbeatAt: timeOf(row.heartbeat_at),
    registeredAt: timeOf(row.registered_at) ?? 0,
    silentAt: timeOf(row.silent_at),
    report: readDocumentText(row.report) ?? null,
    enrol: readDocumentText(row.enrol) ?? null,
    revision: row.revision,
  };
}
