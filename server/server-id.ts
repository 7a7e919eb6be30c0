import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../core/errors.ts';
import { type Id, isId } from '../core/ids.ts';

/** The file that makes a directory a data directory: the server's id. `init` writes it last. */
export const SERVER_ID_FILE = 'server-id';

/** Where a restore builds what it moves into place: while it is there and no server's id is, the directory is nobody's. */
export const RESTORE_STAGING = '.restore';

/** The id of the server that this directory belongs to, or undefined when `init` has not (completely) run there. */
export async function findServerId(dataDir: string): Promise<Id | undefined> {
  const path = join(dataDir, SERVER_ID_FILE);
  let text: string;
  try {
    text = (await readFile(path, 'utf8')).trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new AppError('config', `cannot read ${path}: ${code}`, { hint: 'run as the user that owns the data directory', cause: error });
  }
  if (!isId(text)) throw new AppError('config', `${path} does not hold a server id`, { hint: 'restore the directory from a backup' });
  return text;
}

/** As `findServerId`; throws `not_found` for a directory without a server. */
export async function readServerId(dataDir: string): Promise<Id> {
  const id = await findServerId(dataDir);
  if (id === undefined) {
    if (existsSync(join(dataDir, RESTORE_STAGING))) {
      throw new AppError('not_found', `a restore into ${dataDir} was not finished: there is no server in it`, {
        hint: `run waystation server restore FILE --data ${dataDir} again, or remove the directory: it may hold the keys of a server`,
      });
    }
    throw new AppError('not_found', `there is no server in ${dataDir}`, {
      hint: `run waystation init --data ${dataDir}, or name another directory`,
    });
  }
  return id;
}
