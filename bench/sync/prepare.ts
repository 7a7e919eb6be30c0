import { execFile } from 'node:child_process';
import { access, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { withLoop } from '../sync-data/disk.ts';
import { CASES, type SyncData } from '../sync-data.ts';

/*
 * What the peers keep at headquarters and at the branch, made once and kept beside the disks (the folder `peers`):
 * NAME.pcl (partclone, without checksums, as FOG makes it), NAME.pcl.zst, NAME.patch (against base.pcl), NAME.raw.zsync,
 * NAME.caibx and one chunk store.
 */
const run = promisify(execFile);

export type Prepared = { readonly data: SyncData; readonly directory: string };

/** Which rows read which of the files. */
const READERS: Readonly<Record<string, readonly string[]>> = {
  raw: ['rsync-raw', 'zsync', 'casync'],
  pcl: ['full', 'get', 'rsync-pcl', 'patch'],
  'pcl.zst': ['full', 'get'],
  patch: ['patch'],
  'raw.zsync': ['zsync'],
  caibx: ['casync'],
};

/** Makes what these rows (keys of `PEERS`) read. */
export async function preparePeers(data: SyncData, rows: readonly string[], onStage: (stage: string) => void): Promise<Prepared> {
  const directory = join(dirname(data.base), 'peers');
  await mkdir(directory, { recursive: true });
  for (const name of ['base', ...CASES] as const) {
    const raw = data[name];
    const made = async (file: string, make: (out: string) => Promise<unknown>) => {
      const isRead = READERS[file.slice(name.length + 1)]?.some((key) => rows.includes(key));
      if (isRead) await makeOnce(join(directory, file), make, onStage);
    };
    await made(`${name}.raw`, (out) => run('cp', ['--sparse=always', '--reflink=auto', raw, out]));
    await made(`${name}.pcl`, (out) =>
      withLoop(raw, (device) => run('partclone.extfs', ['-q', '-c', '-a0', '-s', device, '-o', out, '-L', '/dev/null'])),
    );
    const pcl = join(directory, `${name}.pcl`);
    await made(`${name}.pcl.zst`, (out) => run('zstd', ['-q', '-3', '-T2', pcl, '-o', out]));
    const against = ['--long=31', `--patch-from=${join(directory, 'base.pcl')}`];
    if (name !== 'base') await made(`${name}.patch`, (out) => run('zstd', ['-q', '-3', ...against, pcl, '-o', out]));
    await made(`${name}.raw.zsync`, (out) => run('zsyncmake', ['-u', `${name}.raw`, '-o', out, join(directory, `${name}.raw`)]));
    await made(`${name}.caibx`, async (out) => {
      await run('casync', ['make', `--store=${join(directory, 'store.castr')}`, `${out}.caibx`, raw]);
      await rename(`${out}.caibx`, out);
    });
  }
  return { data, directory };
}

/** The chunk store of the base alone, for a run with nothing new. */
export async function makeBaseStore({ data, directory }: Prepared): Promise<string> {
  const store = join(directory, 'base.castr');
  const done = join(directory, 'base.castr.made');
  const isMade = await access(done).then(
    () => true,
    () => false,
  );
  if (isMade) return store;
  await rm(store, { recursive: true, force: true });
  await run('casync', ['make', `--store=${store}`, join(directory, 'base-only.caibx'), data.base]);
  await writeFile(done, '');
  return store;
}

async function makeOnce(path: string, make: (out: string) => Promise<unknown>, onStage: (stage: string) => void): Promise<void> {
  const isMade = await access(path).then(
    () => true,
    () => false,
  );
  if (isMade) return;
  onStage(`making ${path}`);
  const fresh = join(dirname(path), `.new-${process.pid}`);
  await rm(fresh, { force: true });
  await make(fresh);
  await rename(fresh, path);
}
