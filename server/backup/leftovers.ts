import { lstat, mkdir, readdir, readlink, rm, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { syncDirectory } from '../../sync/content/durable.ts';
import { RESTORE_STAGING } from '../server-id.ts';

/*
 * A backup that is being written lies, with the keys in it, under a temporary name wherever the operator wants the file. So that a
 * process that is killed there leaves nothing for ever, DIR/run holds a link to it from before it is made until it is gone.
 */

const LINK = /^backup-[0-9a-f]{12}$/;
/** As `temporaryBeside` makes them: nothing else is taken away, whatever the link says. */
const TEMPORARY = /^\..+\.([0-9a-f]{12})\.tmp$/;

/** A file system that is not mounted just now may hold the file; after so long it is believed to be gone. */
const KEPT_MS = 30 * 86_400_000;

/** Keeps in mind, durably, that there may be a file of this temporary name. Call what is returned when it is gone. */
export async function noteTemporary(dataDir: string, temporary: string): Promise<() => Promise<void>> {
  const run = join(dataDir, 'run');
  const note = join(run, `backup-${TEMPORARY.exec(basename(temporary))?.[1]}`);
  await mkdir(run, { recursive: true, mode: 0o700 });
  await symlink(temporary, note);
  await syncDirectory(run);
  return () => rm(note, { force: true });
}

/**
 * Takes away what backups and a restore left here when their process was killed; gives the paths. The caller holds DIR/lock, and
 * no backup of this directory is under way. A file that cannot be removed now is tried again the next time.
 */
export async function removeLeftovers(dataDir: string): Promise<string[]> {
  // Behind the server's id a restore has nothing more to do but this.
  await rm(join(dataDir, RESTORE_STAGING), { recursive: true, force: true });
  const run = join(dataDir, 'run');
  const removed: string[] = [];
  for (const name of (await readdir(run)).filter((one) => LINK.test(one))) {
    const note = join(run, name);
    const [path, { mtimeMs }] = [await readlink(note), await lstat(note)];
    const isGone = await removeFile(path);
    if (isGone) removed.push(path);
    if (isGone || Date.now() - mtimeMs > KEPT_MS) await rm(note);
  }
  return removed;
}

/** Whether it was there and is gone now. */
async function removeFile(path: string): Promise<boolean> {
  if (!TEMPORARY.test(basename(path))) return false;
  return rm(path).then(
    () => true,
    () => false, // not there, or not reached: which of both is not known
  );
}
