import { link, mkdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { LinkedPacks } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import { newId } from '../../core/ids.ts';
import { listPacks, packPath, type Store } from './store.ts';

/** Holds every pack that is here, as it is; costs no space until one of them is taken away. `openStore` removes what a killed process left. */
export function linkPacks(store: Store): Promise<LinkedPacks> {
  const directory = join(store.paths.tmp, `packs-${newId()}`);
  // While nobody takes packs away, what is listed is there.
  return store.moving.take(async () => {
    await mkdir(directory, { mode: 0o700 });
    const packs: LinkedPacks['packs'][number][] = [];
    for (const name of await listPacks(store.paths)) {
      const path = join(directory, `${name}.pack`);
      await link(packPath(store.paths, name), path);
      packs.push({ name, path, bytes: (await stat(path)).size });
    }
    return { directory, packs };
  });
}

/** Gives them back. Throws for a directory that `linkPacks` did not make. */
export async function unlinkPacks(store: Store, directory: string): Promise<void> {
  if (dirname(directory) !== store.paths.tmp || !basename(directory).startsWith('packs-'))
    throw new AppError('failed', `${directory} is not one of linked packs`);
  await rm(directory, { recursive: true, force: true });
}
