import { rmSync } from 'node:fs';
import { stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { BackupContent } from '../../core/backup-file.ts';
import type { LinkedPacks, OnProgress } from '../../core/content-store.ts';
import { AppError, errorFromPlain } from '../../core/errors.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { asStoreError, temporaryBeside } from '../../sync/content/durable.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { OWN_DATABASE } from '../db/own.ts';
import type { Site } from '../site.ts';
import { noteTemporary } from './leftovers.ts';
import type { BackupTask, FromBackup } from './worker.ts';
import { refuseExisting } from './write-file.ts';

export type BackupWish = {
  /** Absolute path of the file, or of a directory in which it gets a name with server and time. */
  readonly path: string;
  readonly content: BackupContent;
  readonly actor: string;
};

/** What was written, in the words of `server backup --json`. */
export type CreatedBackup = {
  readonly path: string;
  readonly sizeBytes: number;
  readonly content: BackupContent;
  readonly createdAt: string;
};

/**
 * Writes a backup of this server while it works: database as of one moment, keys, configuration, and with `whole` the packs of the
 * store. The file appears when it is whole and durable, and never in place of another. Errors: `name_taken`, `disk_full`,
 * `not_found` and `denied` for the directory.
 */
export async function createBackup(site: Site, wish: BackupWish, onProgress: OnProgress = () => undefined): Promise<CreatedBackup> {
  const createdAt = new Date(site.now()).toISOString();
  const path = await chooseName(site, wish.path, createdAt);
  await refuseExisting(path);
  const held: LinkedPacks[] = [];
  const hold = async () => {
    if (wish.content === 'whole') held.push(await site.store.linkPacks());
    return [...new Map(held.flatMap(({ packs }) => packs).map((pack) => [pack.name, pack])).values()];
  };
  try {
    // Before the database and after it: what was collected and what was added in between is in one of the two.
    const packs = await hold();
    await requireRoom(path, packs);
    const facts = { program: packageJson.version, createdAt, server: site.self, content: wish.content };
    const task = { path, temporary: temporaryBeside(path), dataDir: site.dataDir, facts };
    const totalBytes = packs.reduce((sum, { bytes }) => sum + bytes, await databaseBytes(site.dataDir));
    const sizeBytes = await runWorker(task, { hold, onProgress, totalBytes });
    await noteBackup(site, { ...wish, path, sizeBytes });
    return { path, sizeBytes, content: wish.content, createdAt };
  } finally {
    for (const { directory } of held) await site.store.unlinkPacks(directory);
  }
}

async function chooseName(site: Site, path: string, createdAt: string): Promise<string> {
  const found = await stat(path).catch(() => undefined); // nothing is there: it is the name of a file
  if (!found?.isDirectory()) return path;
  return join(path, `${site.self.name}-${createdAt.replaceAll(/[-:]|\.\d+/g, '')}.wsb`);
}

/** The packs are as large in the backup as they are here; the rest is small, and told when there is no room for it either. */
async function requireRoom(path: string, packs: LinkedPacks['packs']): Promise<void> {
  const needed = packs.reduce((sum, { bytes }) => sum + bytes, 0);
  const { bavail, bsize } = await statfs(dirname(path)).catch((cause) => {
    throw new AppError('not_found', `cannot write into ${dirname(path)}: ${(cause as NodeJS.ErrnoException).code}`, {
      hint: 'name a directory that is there',
      cause,
    });
  });
  if (bavail * bsize > needed) return;
  throw new AppError('disk_full', `the backup needs ${needed} bytes and ${dirname(path)} has ${bavail * bsize} free`, {
    hint: 'make room, name another place, or leave the content out with --content reference; nothing was written',
  });
}

async function databaseBytes(dataDir: string): Promise<number> {
  return (await stat(join(dataDir, OWN_DATABASE))).size;
}

type Running = {
  readonly hold: () => Promise<LinkedPacks['packs']>;
  readonly onProgress: OnProgress;
  readonly totalBytes: number;
};

async function runWorker(task: BackupTask, { hold, onProgress, totalBytes }: Running): Promise<number> {
  // A server that is told to stop does not wait for its backup, and leaves nothing of it.
  const removeRest = () => rmSync(task.temporary, { force: true });
  const forget = await noteTemporary(task.dataDir, task.temporary).catch((error) => {
    throw asStoreError(error, 'noting where the backup is written');
  });
  process.once('exit', removeRest);
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: task, name: 'backup' });
  let doneBytes = 0;
  try {
    return await new Promise<number>((resolve, reject) => {
      worker.on('message', (message: FromBackup) => {
        if (message.kind === 'done') return resolve(message.sizeBytes);
        if (message.kind === 'failed') return reject(errorFromPlain(message.error));
        if (message.kind === 'dumped') return void hold().then((packs) => worker.postMessage(packs), reject);
        doneBytes += message.bytes;
        onProgress(Math.min(doneBytes, totalBytes), totalBytes);
      });
      worker.once('error', reject);
      worker.once('exit', () => reject(new AppError('failed', 'the backup was stopped')));
    });
  } finally {
    await worker.terminate();
    process.off('exit', removeRest);
    removeRest();
    await forget();
  }
}

async function noteBackup(site: Site, backup: BackupWish & { readonly sizeBytes: number }): Promise<void> {
  const { path, content, sizeBytes, actor } = backup;
  const event = { origin: site.self.id, at: site.now(), actor, kind: 'server.backed-up', subject: site.self.id };
  await inTransaction(site.db, (trx) => appendEvent(trx, { ...event, data: { path, content, sizeBytes } }));
  site.wake.notify('events');
  site.log.info('backup written', { path, content, sizeBytes });
}
