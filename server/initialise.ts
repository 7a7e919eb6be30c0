import { chmod, mkdir, readdir, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Knex } from 'knex';
import { stringify } from 'yaml';
import { AppError } from '../core/errors.ts';
import { type Digest, type Id, type Name, newId, parseName } from '../core/ids.ts';
import { hashToken, newTokenText } from './api/token.ts';
import { readEnvironment } from './config/environment.ts';
import { buildConfig, CONFIG_FILE, type Config, type ConfigFlags, type DatabaseSetting } from './config.ts';
import { dataDirectory } from './data-directory.ts';
import { DEFAULT_SOURCE, findDataSource, resolveDatabase } from './datasource.ts';
import { isDiskFull } from './db/disk-full.ts';
import { appendEvent } from './db/events.ts';
import { migrateDatabase } from './db/migrate.ts';
import { connectTo, inTransaction } from './db/open.ts';
import { createOperatorToken } from './db/operator-tokens.ts';
import { createServer } from './db/servers.ts';
import { takeLock } from './lock.ts';
import { findServerId, SERVER_ID_FILE } from './server-id.ts';
import { openShared, type Shared } from './shared/open.ts';
import { register, registrationOf, requireFreeName, unregister } from './shared/register.ts';
import { writeSecretFile } from './trust/key-files.ts';
import { createKeys, type SiteKeys } from './trust/keys.ts';

export type Initialised = {
  readonly serverId: Id;
  /** SHA-256 of the CA's SPKI: what others pin. */
  readonly fingerprint: Digest;
  /** The first operator's token (administrator). Only its hash is kept. */
  readonly token: string;
  readonly name: Name;
  readonly database: DatabaseSetting;
  /** Whether the data source `waystation` was taken because it is defined. */
  readonly isDefaultSource: boolean;
};

export type InitOptions = {
  readonly dataDir: string;
  readonly flags: ConfigFlags;
  readonly env?: NodeJS.ProcessEnv;
  readonly now?: () => number;
};

const STAGING = '.init';
/** What may stand in a directory that is to become a data directory. */
const HARMLESS = new Set(['lost+found', 'datasources.d', 'lock', 'run', STAGING]);
const NEEDED_BYTES = 4 * 1024 * 1024;

/**
 * Makes a data directory: keys, configuration, database, our own row, the first operator token, and enters the shared
 * database where one is named (before anything is made it is asked whether it will have us). All is built in
 * DIR/.init and moved into place, the server's id last: without that file the directory is nobody's. A failure
 * takes away what was made.
 *
 * Errors: `name_taken` (there is a server in DIR, or the shared database knows one of that name), `unknown_data_source`,
 * `config`, `unreadable_secret`, `disk_full`, `directory_in_use`, `unreachable`.
 */
export async function initialise(options: InitOptions): Promise<Initialised> {
  const dataDir = dataDirectory(options.dataDir);
  const env = options.env ?? process.env;
  const settings = await chooseSettings(dataDir, options.flags, env);
  const connection = await resolveDatabase(settings.config.database, { dataDir, env });
  const now = options.now ?? Date.now;
  const shared = connection.kind === 'mysql' ? openShared(connection, now) : undefined;
  try {
    if (shared !== undefined) await askShared(shared, settings.config.name as Name);
    return await claimAndFill(dataDir, { ...settings, shared, now });
  } finally {
    await shared?.close();
  }
}

/** The place where this server will meet others is reached, has its tables, and nobody there has our name. */
async function askShared(shared: Shared, name: Name): Promise<void> {
  await shared.prepare();
  await requireFreeName(shared, name);
}

async function claimAndFill(dataDir: string, plan: Plan): Promise<Initialised> {
  const firstCreated = await claimDirectory(dataDir);
  try {
    return await fill(dataDir, plan);
  } catch (error) {
    if (firstCreated !== undefined && !(await isOthers(dataDir, error))) await rm(firstCreated, { recursive: true, force: true });
    throw isDiskFull(error) ? diskFull(dataDir, error) : error;
  }
}

/** Another init works there, or has been quicker: what is in the directory is not ours to take away. */
async function isOthers(dataDir: string, error: unknown): Promise<boolean> {
  return (error as { code?: string }).code === 'directory_in_use' || (await findServerId(dataDir)) !== undefined;
}

type Settings = { readonly config: Config; readonly written: ConfigFlags; readonly isDefaultSource: boolean };
type Plan = Settings & { readonly shared: Shared | undefined; readonly now: () => number };

async function chooseSettings(dataDir: string, flags: ConfigFlags, env: NodeJS.ProcessEnv): Promise<Settings> {
  if (flags.name !== undefined) parseName(flags.name);
  const fromEnvironment = readEnvironment(env);
  const asked = flags.database ?? (fromEnvironment['database'] as string | undefined);
  const source = asked === undefined ? await findDataSource(DEFAULT_SOURCE, { dataDir, env }) : undefined;
  const database = source === undefined ? (asked ?? 'sqlite') : DEFAULT_SOURCE;
  const given = Object.fromEntries(Object.entries({ ...flags, database }).filter(([, value]) => value !== undefined)) as ConfigFlags;
  const config = buildConfig([fromEnvironment, given]);
  return { config, written: { ...given, name: config.name }, isDefaultSource: source !== undefined };
}

/** Makes the directory if need be and returns the topmost one that was made. Refuses one that holds anything. */
async function claimDirectory(dataDir: string): Promise<string | undefined> {
  await refuseServer(dataDir);
  const created = await makeDirectory(dataDir);
  const foreign = (await readdir(dataDir)).find((name) => !HARMLESS.has(name));
  if (foreign === undefined) {
    await chmod(dataDir, 0o700);
    return created;
  }
  throw new AppError('config', `${dataDir} is not empty (it holds "${foreign}")`, { hint: 'name an empty or new directory with --data' });
}

async function refuseServer(dataDir: string): Promise<void> {
  if ((await findServerId(dataDir)) === undefined) return;
  throw new AppError('name_taken', `there is a server in ${dataDir} already`, { hint: 'name another directory with --data' });
}

async function makeDirectory(dataDir: string): Promise<string | undefined> {
  try {
    return await mkdir(dataDir, { recursive: true, mode: 0o700 });
  } catch (error) {
    if (isDiskFull(error)) throw diskFull(dataDir, error);
    throw new AppError('config', `cannot make ${dataDir}: ${(error as NodeJS.ErrnoException).code}`, {
      hint: 'run as a user that may, or name another directory with --data',
      cause: error,
    });
  }
}

async function fill(dataDir: string, plan: Plan): Promise<Initialised> {
  const before = new Set(await readdir(dataDir));
  const space = await statfs(dataDir);
  if (space.bavail * space.bsize < NEEDED_BYTES) throw diskFull(dataDir);
  const lock = await takeLock(dataDir);
  try {
    await refuseServer(dataDir);
    return await fillLocked(dataDir, plan, before);
  } finally {
    lock.release();
  }
}

async function fillLocked(dataDir: string, plan: Plan, before: ReadonlySet<string>): Promise<Initialised> {
  try {
    const staging = join(dataDir, STAGING);
    await rm(staging, { recursive: true, force: true });
    await mkdir(staging, { mode: 0o700 });
    const { made, keys } = await build(staging, plan);
    await enter(plan, made, keys);
    try {
      await publish(staging, dataDir, made.serverId);
    } catch (error) {
      // A registration that nobody uses gives its name back by itself after a while.
      await (plan.shared && unregister(plan.shared, made.serverId))?.catch(() => undefined);
      throw error;
    }
    return made;
  } catch (error) {
    await removeNew(dataDir, before);
    throw error;
  }
}

async function enter({ shared }: Plan, { name }: Initialised, keys: SiteKeys): Promise<void> {
  if (shared !== undefined) await register(shared, registrationOf(keys, { name, url: null, epoch: 0 }));
}

async function build(staging: string, plan: Plan): Promise<{ made: Initialised; keys: SiteKeys }> {
  const now = plan.now();
  const serverId = newId(now);
  const keys = await createKeys(staging, serverId, now);
  await writeSecretFile(
    join(staging, CONFIG_FILE),
    `# Settings of this server; what is not here has its default.\n${stringify(plan.written)}`,
  );
  const token = newTokenText();
  const db = await connectTo({ kind: 'sqlite' }, staging);
  try {
    await migrateDatabase(db);
    await inTransaction(db, (trx) => writeFirstRows(trx, { keys, name: plan.config.name as Name, token, now }));
  } finally {
    await db.destroy();
  }
  const { name, database } = plan.config;
  const made = { serverId, fingerprint: keys.caPin, token, name: name as Name, database, isDefaultSource: plan.isDefaultSource };
  return { made, keys };
}

type First = { readonly keys: SiteKeys; readonly name: Name; readonly token: string; readonly now: number };

async function writeFirstRows(trx: Knex.Transaction, { keys, name, token, now }: First): Promise<void> {
  const id = keys.serverId;
  await createSelf(trx, { keys, name, now });
  const tokenId = newId(now);
  await createOperatorToken(trx, {
    id: tokenId,
    name: 'first',
    hash: hashToken(token),
    role: 'administrator',
    createdAt: now,
    expiresAt: null,
  });
  await appendEvent(trx, { origin: id, at: now, actor: 'local-admin', kind: 'server.initialised', subject: id, data: { name } });
  await appendEvent(trx, {
    origin: id,
    at: now,
    actor: 'local-admin',
    kind: 'token.created',
    subject: tokenId,
    data: { role: 'administrator' },
  });
}

async function createSelf(trx: Knex.Transaction, { keys, name, now }: Omit<First, 'token'>): Promise<void> {
  await createServer(
    trx,
    {
      ...{ id: keys.serverId, name, relation: 'self', state: 'active', url: null },
      ...{ caPin: keys.caPin, ca: keys.caPem, certificateKeyId: null, signerKeyId: keys.signerKeyId },
      ...{ createdAt: now, seenAt: null },
    },
    keys.serverId,
  );
}

async function publish(staging: string, dataDir: string, serverId: Id): Promise<void> {
  for (const name of await readdir(staging)) await rename(join(staging, name), join(dataDir, name));
  await rm(staging, { recursive: true });
  await writeSecretFile(join(dataDir, SERVER_ID_FILE), `${serverId}\n`);
}

async function removeNew(dataDir: string, before: ReadonlySet<string>): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (!before.has(name)) await rm(join(dataDir, name), { recursive: true, force: true });
  }
}

function diskFull(dataDir: string, cause?: unknown): AppError {
  return new AppError('disk_full', `no space left for a data directory in ${dataDir}`, {
    hint: 'free space or name another directory',
    cause,
  });
}
