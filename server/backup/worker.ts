import { open } from 'node:fs/promises';
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import type { BackupManifest } from '../../core/backup-file.ts';
import type { LinkedPacks } from '../../core/content-store.ts';
import { describeError } from '../../core/errors.ts';
import { asStoreError } from '../../sync/content/durable.ts';
import { connectTo } from '../db/open.ts';
import { dumpDatabase } from './dump.ts';
import { addFiles } from './files.ts';
import { createBackupFile } from './write-file.ts';

/*
 * The thread that writes a backup: rows become text, packs are hashed, and the loop that answers firmware does neither. It has a
 * database connection of its own, which sees one moment.
 */

export type BackupTask = {
  readonly path: string;
  readonly temporary: string;
  readonly dataDir: string;
  readonly facts: Pick<BackupManifest, 'program' | 'createdAt' | 'server' | 'content'>;
};

/** `dumped`: the database is in the file; the packs that it needs are all there now, and are waited for (`LinkedPacks['packs']`). */
export type FromBackup =
  | { readonly kind: 'bytes'; readonly bytes: number }
  | { readonly kind: 'dumped' }
  | { readonly kind: 'done'; readonly sizeBytes: number }
  | { readonly kind: 'failed'; readonly error: ReturnType<typeof describeError> };

/** The loop that answers firmware goes first, then the store. */
const NICENESS = 10;
const PROGRESS_BYTES = 4 * 1_048_576;
const SLICE_BYTES = 1_048_576;

const port = parentPort;
if (port === null) throw new Error('server/backup/worker.ts runs as a worker only');
const send = (message: FromBackup) => port.postMessage(message);

async function write({ path, temporary, dataDir, facts }: BackupTask): Promise<number> {
  const onBytes = counter();
  const packs = new Promise<LinkedPacks['packs']>((resolve) => port?.once('message', resolve));
  const writer = await createBackupFile(path, temporary);
  try {
    const db = await connectTo({ kind: 'sqlite' }, dataDir);
    const dumped = await dumpDatabase(db, writer, onBytes).finally(() => db.destroy());
    await addFiles(writer, dataDir);
    send({ kind: 'dumped' });
    for (const pack of await packs) await writer.add(`packs/${pack.name}`, counted(pack.path, onBytes));
    return await writer.finish({ ...facts, ...dumped });
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

/** The octets of a file in slices that are good until the next one is asked for: they share a buffer, which spares the collector gigabytes. */
async function* counted(path: string, onBytes: (bytes: number) => void): AsyncGenerator<Buffer> {
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.allocUnsafe(SLICE_BYTES);
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, SLICE_BYTES);
      if (bytesRead === 0) return;
      onBytes(bytesRead);
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

function counter(): (bytes: number) => void {
  let unsaid = 0;
  return (bytes) => {
    unsaid += bytes;
    if (unsaid < PROGRESS_BYTES) return;
    send({ kind: 'bytes', bytes: unsaid });
    unsaid = 0;
  };
}

setPriority(0, NICENESS);
const task = workerData as BackupTask;
try {
  send({ kind: 'done', sizeBytes: await write(task) });
} catch (error) {
  send({ kind: 'failed', error: describeError(asStoreError(error, `writing ${task.path}`)) });
}
