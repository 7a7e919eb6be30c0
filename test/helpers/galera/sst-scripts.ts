import { cp, mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fetchPackages } from '../../../server/engine/debian/packages.ts';
import { makeTree, unpackPackages } from '../../../server/engine/debian/unpack-process.ts';
import { cacheDirectory } from '../cache.ts';
import { run } from '../mariadb-programs.ts';

const NAMES = ['wsrep_sst_common', 'wsrep_sst_rsync'];

/**
 * Puts MariaDB's own scripts that send a whole copy of the data to a node into `directory`. They come in the package
 * mariadb-server, which would start a service, so it is unpacked and not installed; they are kept for each version of the server.
 */
export async function putSstScripts(directory: string): Promise<void> {
  const version = /\d[\w.]+-MariaDB\S*/.exec(run('mariadbd', ['--no-defaults', '--version']))?.[0] ?? 'unknown';
  const kept = join(cacheDirectory(), `sst-scripts-${version.replaceAll(/[^\w.-]/g, '_')}`);
  if ((await stat(kept).catch(() => undefined)) === undefined) await unpackScripts(kept);
  await cp(kept, directory, { recursive: true });
}

async function unpackScripts(kept: string): Promise<void> {
  const cacheDir = cacheDirectory();
  const only = (name: string) => name === 'mariadb-server';
  const packages = await fetchPackages({ cacheDir, arch: 'amd64', packages: ['mariadb-server'], only });
  const fresh = await mkdtemp(join(cacheDir, '.mariadb-server-'));
  try {
    await makeTree(fresh);
    await unpackPackages(packages, fresh);
    const scripts = join(fresh, 'scripts');
    await mkdir(scripts);
    for (const name of NAMES) await rename(join(fresh, 'usr/bin', name), join(scripts, name));
    await rename(scripts, kept);
  } catch (cause) {
    // Somebody else unpacked the same package meanwhile; theirs is as good.
    if ((await stat(kept).catch(() => undefined)) === undefined) throw cause;
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}
