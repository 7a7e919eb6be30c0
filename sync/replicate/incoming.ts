import { type FileHandle, mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { takeFileLock } from '../tunnel/rsync-process.ts';

/** rsync gives up 60 s after the last octet (`--timeout`), so whoever holds the lock longer than this is stuck. */
const LOCK_WAIT_SECONDS = 90;

/** A part's own directory under DIR/store/incoming while nobody else may write in it. */
export type LockedPart = {
  readonly directory: string;
  readonly path: string;
  /** The descriptor that holds the lock: give it to rsync, whose receiver may outlive us. */
  readonly lock: FileHandle;
  /** Removes part and directory. */
  remove(): Promise<void>;
  release(): Promise<void>;
};

/** Waits for the rsync of a killed predecessor to end and takes its place. Throws `busy` when it does not end, and the reason of `signal` when that aborts. */
export async function lockPart(
  incoming: string,
  name: string,
  { waitSeconds = LOCK_WAIT_SECONDS, signal }: { readonly waitSeconds?: number; readonly signal?: AbortSignal } = {},
): Promise<LockedPart> {
  const directory = join(incoming, name);
  for (;;) {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const lock = await open(directory, 'r');
    const isTaken = await takeFileLock(lock, waitSeconds, signal).catch(async (error) => {
      await lock.close();
      throw error;
    });
    if (!isTaken) {
      await lock.close();
      throw stuckWriter(directory);
    }
    // Whoever held it before may have removed the directory: the lock would be on nothing.
    if (await isSameDirectory(lock, directory)) return lockedPart(directory, name, lock);
    await lock.close();
  }
}

/** Removes what earlier runs left that this one does not want, as far as nobody writes there. */
export async function removeOtherParts(incoming: string, wanted: readonly string[]): Promise<void> {
  await mkdir(incoming, { recursive: true, mode: 0o700 });
  for (const name of await readdir(incoming)) {
    if (wanted.includes(name) || !/^[0-9a-f]{64}$/.test(name)) continue;
    // Somebody still writes there: the next run removes it.
    const locked = await lockPart(incoming, name, { waitSeconds: 0 }).catch(() => undefined);
    await locked?.remove();
    await locked?.release();
  }
}

function lockedPart(directory: string, name: string, lock: FileHandle): LockedPart {
  return {
    directory,
    path: join(directory, name),
    lock,
    remove: () => rm(directory, { recursive: true, force: true }),
    release: () => lock.close(),
  };
}

async function isSameDirectory(lock: FileHandle, directory: string): Promise<boolean> {
  const held = await lock.stat();
  // Removed since: that is what is asked here.
  const there = await stat(directory).catch(() => undefined);
  return there !== undefined && there.ino === held.ino && there.dev === held.dev;
}

function stuckWriter(directory: string): AppError {
  return new AppError('busy', `another rsync still writes in ${directory}`, {
    hint: `find it with: fuser -v ${directory}; it should end by itself within a minute`,
  });
}
