import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import type { Id, Name } from '../../core/ids.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { readDatabaseTime } from '../db/dialect-time.ts';
import { isUniqueViolation } from '../db/open.ts';
import {
  findSharedServer,
  freeName,
  getSharedServer,
  insertSharedServer,
  type Registration,
  removeUnused,
  type SharedServer,
  updateRegistration,
} from '../db/shared/servers.ts';
import type { SiteKeys } from '../trust/keys.ts';
import type { Shared } from './open.ts';

/** A name whose server registered so long ago and has never run since is free: an `init` died there. */
const UNUSED_MS = 600_000;

/** What a server says of itself in the registry. */
export function registrationOf(
  keys: Pick<SiteKeys, 'serverId' | 'caPin' | 'caPem' | 'signer'>,
  facts: { readonly name: Name; readonly url: string | null; readonly epoch: number },
): Registration {
  return { id: keys.serverId, caPin: keys.caPin, ca: keys.caPem, signer: keys.signer, version: packageJson.version, ...facts };
}

/**
 * Writes this server's row, or makes it. Errors: `name_taken` (another server has the name), `fenced` (another
 * took our place), and those of `Shared`.
 */
export async function register(shared: Shared, registration: Registration): Promise<void> {
  await shared.write('registration', (trx) => putRegistration(trx, registration), 'repeat');
}

async function putRegistration(trx: Knex.Transaction, registration: Registration): Promise<void> {
  const { id, name } = registration;
  const holder = await findSharedServer(trx, name);
  if (holder !== undefined && holder.id !== id) await takeName(trx, holder);
  if (await updateRegistration(trx, registration)) return;
  if ((await getSharedServer(trx, id)) !== undefined) {
    throw new AppError('fenced', `server ${name} is fenced in the shared database: another server took its place`, {
      hint: 'it works on alone; see waystation server list at another server',
    });
  }
  try {
    await insertSharedServer(trx, registration);
  } catch (error) {
    if (isUniqueViolation(error)) throw nameTaken(name, id);
    throw error;
  }
}

async function takeName(trx: Knex.Transaction, holder: SharedServer): Promise<void> {
  const isLeft = holder.state === 'retired' || (await isUnused(trx, holder));
  if (!isLeft || !(await freeName(trx, holder))) throw nameTaken(holder.name, holder.id);
}

async function isUnused(db: Knex, { heartbeatAt, registeredAt }: SharedServer): Promise<boolean> {
  return heartbeatAt === null && (await readDatabaseTime(db)) - registeredAt > UNUSED_MS;
}

/** Throws `name_taken` when the name cannot be registered; changes nothing. */
export async function requireFreeName(shared: Shared, name: Name): Promise<void> {
  await shared.read('the name of this server', async (db) => {
    const holder = await findSharedServer(db, name);
    if (holder !== undefined && holder.state !== 'retired' && !(await isUnused(db, holder))) throw nameTaken(name, holder.id);
  });
}

/** Takes back a registration that came to nothing. */
export async function unregister(shared: Shared, id: Id): Promise<void> {
  await shared.write('registration', (trx) => removeUnused(trx, id), 'repeat');
}

function nameTaken(name: string, id: Id): AppError {
  return new AppError('name_taken', `the shared database knows a server called "${name}" already (${id})`, {
    hint: 'choose another name with --name',
  });
}
