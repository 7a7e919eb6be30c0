import { mkdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { badBackup } from '../../core/backup-file.ts';
import type { OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest, Id, Name } from '../../core/ids.ts';
import { syncDirectory } from '../../sync/content/durable.ts';
import { openContentStore } from '../../sync/content/open.ts';
import { CONFIG_FILE, type Config, loadConfig } from '../config.ts';
import { dataDirectory } from '../data-directory.ts';
import { resolveDatabase } from '../datasource.ts';
import { isDiskFull } from '../db/disk-full.ts';
import { listImages } from '../db/images.ts';
import { connectTo } from '../db/open.ts';
import { takeLock } from '../lock.ts';
import { closeLog, createLog } from '../log.ts';
import type { Site } from '../site.ts';
import { openKeys } from '../trust/keys.ts';
import { Wake } from '../wake.ts';
import { extractMember, extractPacks, findWhole } from './content.ts';
import { loadDatabase, refuseNewerSchema } from './load.ts';
import { type OpenedBackup, openBackup } from './open-file.ts';
import { type Rewound, rewind } from './rewind.ts';
import { beginStaging, listed, makeForRestore, publishStaging, refuseOccupied, removeStaging } from './staging.ts';

export type RestoreWish = {
  readonly from: string;
  readonly dataDir: string;
  /** Where it meets other servers, in place of what the backup's configuration says: `sqlite` (nowhere), a data source's name or a URL. */
  readonly database?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
  readonly now?: () => number;
};

/** What a restore came to. */
export type Restored = Rewound & {
  readonly serverId: Id;
  readonly name: Name;
  readonly fingerprint: Digest;
  readonly dataDir: string;
  readonly backup: Pick<OpenedBackup, 'createdAt' | 'program' | 'content'>;
  /** Images whose content is here, each chunk hashed. */
  readonly held: number;
};

/** What the rows of a database take in it, for one octet of them in the backup. */
const UNPACKED = 12;

/**
 * Makes the server of a backup in an empty directory: same ids, keys and objects, an epoch that its children believe. Nothing of
 * the directory is a server until all of it is. A failure takes away what was made; a process that is killed leaves a
 * directory on which nothing starts, and a second restore begins anew.
 *
 * Errors: those of `openBackup`, `refuseNewerSchema` and `loadDatabase`; `name_taken` and `config` for the directory, `disk_full`,
 * `directory_in_use`, and those of `resolveDatabase`: a server whose password file is not there would not start.
 */
export async function restoreBackup(wish: RestoreWish, onProgress: OnProgress = () => undefined): Promise<Restored> {
  const dataDir = dataDirectory(wish.dataDir);
  const opened = await openBackup(resolve(wish.from));
  refuseNewerSchema(opened);
  await refuseOccupied(dataDir);
  const created = await makeForRestore(dataDir);
  const lock = await takeLock(dataDir);
  try {
    // Somebody else may have made a server here before the lock was ours.
    await refuseOccupied(dataDir);
    return await underLock({ ...wish, dataDir, now: wish.now ?? Date.now }, { opened, created, count: meter(opened, onProgress) });
  } finally {
    lock.release();
  }
}

type Claimed = { readonly opened: OpenedBackup; readonly created: string | undefined; readonly count: Meter };

async function underLock(plan: Plan, { opened, created, count }: Claimed): Promise<Restored> {
  try {
    await requireRoom(opened, plan.dataDir);
    return await fill(plan, opened, count);
  } catch (error) {
    await removeStaging(plan.dataDir, created);
    throw isDiskFull(error) ? noRoom(plan.dataDir, error) : error;
  }
}

async function requireRoom(opened: OpenedBackup, dataDir: string): Promise<void> {
  const needed = opened.members.reduce((sum, { encoding, bytes }) => sum + (encoding === 'zstd' ? UNPACKED * bytes : bytes), 0);
  const { bavail, bsize } = await statfs(dataDir);
  if (bavail * bsize <= needed) throw noRoom(dataDir);
}

function noRoom(dataDir: string, cause?: unknown): AppError {
  return new AppError('disk_full', `no space left for what the backup holds in ${dataDir}; nothing was restored`, {
    hint: 'free space or name another directory with --data',
    cause,
  });
}

/** The file is read twice where it counts: what it says, and once more the packs when they lie in the store. */
type Meter = { readonly bytes: (bytes: number) => void; readonly checked: OnProgress };

function meter({ sizeBytes, members }: OpenedBackup, onProgress: OnProgress): Meter {
  const packs = members.filter(({ name }) => name.startsWith('packs/')).reduce((sum, { bytes }) => sum + bytes, 0);
  const total = sizeBytes + packs;
  let done = 0;
  return {
    bytes: (bytes) => {
      done = Math.min(sizeBytes, done + bytes);
      onProgress(done, total);
    },
    checked: (count, of) => onProgress(sizeBytes + Math.floor((packs * count) / Math.max(1, of)), total),
  };
}

type Plan = RestoreWish & { readonly now: () => number };

async function fill(plan: Plan, opened: OpenedBackup, count: Meter): Promise<Restored> {
  const staging = await beginStaging(plan.dataDir);
  await extractFiles(opened, staging, count);
  const config = await settle(plan, staging);
  await resolveDatabase(config.database, { dataDir: await withOwnSources(plan.dataDir, staging), env: plan.env });
  const packs = join(staging, 'store', 'packs');
  await mkdir(packs, { recursive: true, mode: 0o700 });
  await extractPacks(opened, packs, count.bytes);
  await syncDirectory(packs);
  const restored = await wake(plan, { opened, config, staging, count });
  await publishStaging(plan.dataDir, restored.serverId);
  return restored;
}

async function extractFiles(opened: OpenedBackup, staging: string, count: Meter): Promise<void> {
  for (const { name } of opened.members.filter((member) => member.name.startsWith('files/'))) {
    const path = join(staging, name.slice('files/'.length));
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await extractMember(opened, { name, path }, count.bytes);
    await syncDirectory(dirname(path));
  }
  const serverId = (await readFile(join(staging, 'server-id'), 'utf8').catch(() => '')).trim(); // not in it: another one than it says
  if (serverId !== opened.server.id) throw badBackup('its server-id is not that of its manifest');
}

/** Writes another database into the configuration when one is asked for; the rest of the file, comments too, stays. */
async function settle({ database, env }: Plan, staging: string): Promise<Config> {
  if (database !== undefined) {
    const path = join(staging, CONFIG_FILE);
    const document = parseDocument(await readFile(path, 'utf8'));
    document.set('database', database);
    await writeFile(path, String(document), { mode: 0o600 });
  }
  return loadConfig({ dataDir: staging, env });
}

/** Data sources that the operator has put into the directory go before those of the backup. */
async function withOwnSources(dataDir: string, staging: string): Promise<string> {
  const [from, to] = [join(dataDir, 'datasources.d'), join(staging, 'datasources.d')];
  const names = await listed(from);
  if (names.length > 0) await mkdir(to, { recursive: true, mode: 0o755 });
  for (const name of names) await writeFile(join(to, name), await readFile(join(from, name)), { mode: 0o600 });
  return staging;
}

type Parts = {
  readonly opened: OpenedBackup;
  readonly config: Config;
  readonly staging: string;
  readonly count: Meter;
};

/** Opens what was extracted as the server that it is to be, and sets it right. */
async function wake(plan: Plan, { opened, config, staging, count }: Parts): Promise<Restored> {
  const self = opened.server as { id: Id; name: Name };
  const keys = await openKeys(staging, self.id);
  const db = await connectTo({ kind: 'sqlite' }, staging);
  try {
    await loadDatabase(db, opened);
    const log = createLog({ dataDir: staging, level: config.logLevel, toStdout: false });
    const store = await openContentStore(join(staging, 'store'));
    try {
      const published = (await listImages(db)).filter(({ state }) => state === 'published');
      const whole = await findWhole(store, [...new Set(published.map(({ manifest }) => manifest))], count.checked);
      const site: Site = {
        dataDir: staging,
        config,
        self,
        db,
        shared: undefined,
        store,
        keys,
        log,
        wake: new Wake(),
        now: plan.now,
        close: async () => undefined,
      };
      const rewound = await rewind(site, { createdAt: opened.createdAt, whole });
      log.info('restored from a backup', { backup: opened.createdAt, epoch: rewound.epoch, notHeld: rewound.notHeld.length });
      const { createdAt, program, content } = opened;
      const facts = { serverId: self.id, name: self.name, fingerprint: keys.caPin, dataDir: plan.dataDir };
      return { ...facts, ...rewound, backup: { createdAt, program, content }, held: published.length - rewound.notHeld.length };
    } finally {
      await store.close();
      await closeLog(log);
    }
  } finally {
    await db.destroy();
    // Of the store's own making while it was checked; the next start makes it again.
    await rm(join(staging, 'store', 'tmp'), { recursive: true, force: true });
  }
}
