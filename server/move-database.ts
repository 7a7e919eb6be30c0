import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { AppError, describeError } from '../core/errors.ts';
import { CONFIG_FILE, type DatabaseSetting } from './config.ts';
import { resolveDatabase } from './datasource.ts';
import { appendEvent } from './db/events.ts';
import { getCatalogueNumbers } from './db/objects.ts';
import { inTransaction } from './db/open.ts';
import { listPeers, setPeerState } from './db/peers.ts';
import { getSharedServer, setSharedState } from './db/shared/servers.ts';
import { openSite } from './open-site.ts';
import { examineShared } from './shared/examine.ts';
import { openShared, type Shared } from './shared/open.ts';
import { register, registrationOf, requireFreeName } from './shared/register.ts';
import { compareTold, isAllTold, type Told, tellAll } from './shared/tell-all.ts';
import type { Site } from './site.ts';
import { writeSecretFile } from './trust/key-files.ts';

export type Move = {
  readonly dataDir: string;
  readonly env: NodeJS.ProcessEnv;
  /** A data source, a URL, or `sqlite`: no shared database. */
  readonly to: string;
  readonly isDryRun: boolean;
  /** Leaves the one before although it cannot be reached. */
  readonly isForced: boolean;
  readonly signal: AbortSignal;
};

export type Moved = {
  /** `database "NAME" at HOST`, or null for none. */
  readonly from: string | null;
  readonly to: string | null;
  readonly dryRun: boolean;
  /** What this server has of its own and what the database it moves to has of it; empty when it leaves only. */
  readonly told: readonly Told[];
  /** What is to be looked after by hand. */
  readonly notes: readonly string[];
};

/**
 * Takes a stopped server into a shared database, from one to another, or out of it. Everything is told first, then the
 * row in the one before becomes `retired`, then the configuration is changed: killed in between, the same command goes on from
 * the one before, and so does the server, which makes its row active again. All that the server holds stays with it.
 *
 * Errors: `directory_in_use` (stop it first), `name_taken`, `config`, `unreachable` (either of the two), `mismatch`.
 */
export async function moveDatabase(move: Move): Promise<Moved> {
  refuseOverruled(move.env);
  const before = await lookBefore(move);
  const from = before.where;
  const site = await openSite({ dataDir: move.dataDir, env: move.env, flags: { database: move.to } });
  try {
    const to = site.shared?.where ?? null;
    const moved = { from, to, dryRun: move.isDryRun };
    const told = site.shared === undefined ? [] : await enter(site, site.shared, move);
    const left = from === to ? [] : await leave(site, before, move);
    if (move.isDryRun) return { ...moved, told, notes: left };
    if (site.shared !== undefined) await stayThere(site, site.shared);
    await writeSetting(move.dataDir, move.to);
    if (from !== to) await forgetPeers(site);
    await noteMove(site, { from, to });
    return { ...moved, told, notes: left };
  } finally {
    await site.close();
  }
}

/** Where it met others until now; `lost` is why that cannot even be looked up. */
type Before = { readonly where: string | null; readonly setting: DatabaseSetting; readonly lost?: string };

const UNKNOWN: readonly string[] = ['unknown_data_source', 'unreadable_secret'];

async function lookBefore({ dataDir, env, isForced }: Move): Promise<Before> {
  try {
    const site = await openSite({ dataDir, env });
    const found = { where: site.shared?.where ?? null, setting: site.config.database };
    await site.close();
    return found;
  } catch (error) {
    const { code, message } = describeError(error);
    if (!isForced || !UNKNOWN.includes(code)) throw error;
    return { where: 'a database that is not defined any more', setting: 'sqlite', lost: message };
  }
}

function refuseOverruled(env: NodeJS.ProcessEnv): void {
  if (!env['WAYSTATION_DATABASE']) return;
  throw new AppError('config', 'WAYSTATION_DATABASE is set and goes before the configuration that this would change', {
    hint: 'unset it, also where serve is started',
  });
}

async function enter(site: Site, shared: Shared, { isDryRun, env, to, dataDir, signal }: Move): Promise<readonly Told[]> {
  if (isDryRun) return preview(site, shared, { env, to, dataDir });
  await shared.prepare();
  const { epoch } = await getCatalogueNumbers(site.db);
  await register(shared, registrationOf(site.keys, { name: site.self.name, url: null, epoch }));
  const told = await tellAll(site, shared, signal);
  if (isAllTold(told)) return told;
  throw new AppError(
    'mismatch',
    `not all was told: ${told.map(({ what, newestHere, newestThere }) => `${what} ${newestThere} of ${newestHere}`).join(', ')}`,
    {
      hint: 'nothing was changed here; do it again, it goes on where it stopped',
    },
  );
}

/** As `enter`, by looking only. */
async function preview(site: Site, shared: Shared, { env, to, dataDir }: Pick<Move, 'env' | 'to' | 'dataDir'>): Promise<readonly Told[]> {
  const connection = await resolveDatabase(to, { dataDir, env });
  if (connection.kind === 'mysql' && (await examineShared(connection)).schema === 'current') {
    const row = await shared.read('a dry run', (db) => getSharedServer(db, site.self.id));
    if (row === undefined) await requireFreeName(shared, site.self.name);
    return compareTold(site, shared);
  }
  return (await compareTold(site, emptyPlace(shared))).map((one) => ({ ...one, there: 0, newestThere: 0 }));
}

/** A database without tables has nothing of anybody. */
function emptyPlace(shared: Shared): Shared {
  return { ...shared, read: async () => 0 as never };
}

/**
 * Tells the database that is left what it lacks, and makes our row there one of a server that is gone; a dry run only looks whether
 * it can. Returns what could not be done.
 */
async function leave(site: Site, { setting, lost }: Before, { dataDir, env, isDryRun, isForced, signal }: Move): Promise<string[]> {
  if (lost !== undefined) return [`${lost}: this server's row in that database stays active, and silent`];
  const connection = await resolveDatabase(setting, { dataDir, env });
  if (connection.kind !== 'mysql') return [];
  const shared = openShared(connection, site.now, site.self.id);
  try {
    if (isDryRun) await shared.read('leaving', (db) => getSharedServer(db, site.self.id));
    if (isDryRun) return [];
    if (!isAllTold(await tellAll(site, shared, signal))) throw new AppError('mismatch', 'not all was told to the database that is left');
    await shared.write('leaving', (trx) => setSharedState(trx, site.self.id, { from: 'active', to: 'retired' }), 'repeat');
    return [];
  } catch (error) {
    if (!isForced) throw hinted(error);
    return [`${shared.where} could not be told (${describeError(error).message}): this server's row there stays active, and silent`];
  } finally {
    await shared.close();
  }
}

function hinted(error: unknown): unknown {
  if (!(error instanceof AppError) || error.code !== 'unreachable') return error;
  const hint = 'move when it is back; --force leaves it all the same, with what it was not told';
  return new AppError(error.code, error.message, { hint, cause: error });
}

/** The one before may have been this one under another address: then we have just left where we are to be. */
async function stayThere(site: Site, shared: Shared): Promise<void> {
  const row = await shared.read('looking whether this server is there', (db) => getSharedServer(db, site.self.id));
  if (row?.state !== 'retired') return;
  const { epoch } = await getCatalogueNumbers(site.db);
  await register(shared, registrationOf(site.keys, { name: site.self.name, url: row.url, epoch }));
}

/** Changes one setting of waystation.yaml and leaves the rest of the file, comments too, as it is. */
async function writeSetting(dataDir: string, database: string): Promise<void> {
  const path = join(dataDir, CONFIG_FILE);
  const document = parseDocument(await readFile(path, 'utf8'));
  document.set('database', database);
  await writeSecretFile(path, document.toString());
}

async function noteMove(site: Site, data: { from: string | null; to: string | null }): Promise<void> {
  const event = { origin: site.self.id, at: site.now(), actor: 'local-admin', kind: 'server.database-moved', subject: site.self.id, data };
  await inTransaction(site.db, (trx) => appendEvent(trx, event));
}

/** Whom we met there we meet no more. */
async function forgetPeers(site: Site): Promise<void> {
  for (const { id } of await listPeers(site.db)) await setPeerState(site.db, id, 'retired');
}
