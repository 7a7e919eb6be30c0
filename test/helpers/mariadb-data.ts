import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { cacheDirectory } from './cache.ts';
import { run } from './mariadb-programs.ts';

/** The log has the size that the tests' servers want: one of the default 96 MB would be made anew at the first start. */
const ARGUMENTS = [
  '--no-defaults',
  ...(userInfo().uid === 0 ? ['--user=root'] : []),
  '--auth-root-authentication-method=normal',
  '--skip-test-db',
  '--skip-name-resolve',
  '--innodb-log-file-size=8M',
];

/** Makes `datadir`: what a server has before anybody came. Installed once for each version of the server, and copied. */
export async function putEmptyData(datadir: string): Promise<void> {
  const version = run('mariadbd', ['--no-defaults', '--version']);
  const name = createHash('sha256')
    .update(JSON.stringify([version, ARGUMENTS]))
    .digest('hex')
    .slice(0, 16);
  const kept = join(cacheDirectory(), `mariadb-data-${name}`);
  if ((await stat(kept).catch(() => undefined)) === undefined) await install(kept);
  run('cp', ['-a', '--reflink=auto', '--sparse=always', kept, datadir]);
}

async function install(kept: string): Promise<void> {
  const cacheDir = cacheDirectory();
  await mkdir(cacheDir, { recursive: true });
  const fresh = await mkdtemp(join(cacheDir, '.mariadb-data-'));
  try {
    run('mariadb-install-db', [...ARGUMENTS, `--datadir=${join(fresh, 'data')}`, `--tmpdir=${fresh}`]);
    await rename(join(fresh, 'data'), kept);
  } catch (cause) {
    // Somebody else installed the same meanwhile; theirs is as good.
    if ((await stat(kept).catch(() => undefined)) === undefined) throw cause;
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}
