import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, cp, mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { program } from '../mariadb-programs.ts';
import type { Program } from './program.ts';

const run = promisify(execFile);

/** The port in the guest. */
export const MARIADB_PORT = 3306;
/** On the guest's own disk. */
export const MARIADB_DATA = '/data/mariadb';

/**
 * MariaDB as a guest's program: the server of this host with the libraries that it names, so that it opens the directory
 * that `mariadb-install-db` of this host has made. Its log is the guest's console. `args` are added to its command line.
 */
export async function mariadbProgram(args: readonly string[]): Promise<Program> {
  const server = program('mariadbd');
  const files = [server, ...(await librariesOf(server))];
  const shared = await sharedFoldersOf(server);
  const key = createHash('sha256');
  for (const file of files) key.update(file).update(await readFile(file));
  return {
    packages: [],
    isWanted: () => false,
    start: startScript(server, args),
    places: ['/data'],
    key: key.digest('hex'),
    fill: async (tree) => {
      for (const file of files) await putFile(tree, file);
      for (const folder of shared) await cp(folder, join(tree, folder), { recursive: true });
    },
  };
}

function startScript(server: string, args: readonly string[]): string {
  const places = [`--datadir=${MARIADB_DATA}`, '--socket=/run/mariadb.sock', '--pid-file=/run/mariadb.pid', '--tmpdir=/tmp'];
  const network = ['--bind-address=0.0.0.0', `--port=${MARIADB_PORT}`, '--skip-name-resolve'];
  return `
export PATH=/usr/sbin:/usr/bin LC_ALL=C
${[server, '--no-defaults', '--user=root', ...places, ...network, ...args].join(' ')}
echo "guest: mariadbd ended with $?"
busybox sync
busybox poweroff -f
`;
}

/** The shared objects that a program needs, and their loader, as this host would find them. */
async function librariesOf(program: string): Promise<string[]> {
  const { stdout } = await run('ldd', [program]);
  return stdout.split('\n').flatMap((line) => /(?:=> |^\s*)(\/\S+) \(0x/.exec(line)?.[1] ?? []);
}

/** What the server reads besides itself: the tables of characters, and its words. Where they are differs between releases. */
async function sharedFoldersOf(server: string): Promise<string[]> {
  const { stdout } = await run(server, ['--no-defaults', '--verbose', '--help']);
  const [, characters] = /^character-sets-dir +(\/\S+?)\/?$/m.exec(stdout) ?? [];
  if (characters === undefined) throw new Error(`${server} does not say where its tables of characters are`);
  return [characters, join(dirname(characters), 'english')];
}

/** A link on the way is followed: the file itself stands under the name that was asked for. */
async function putFile(tree: string, file: string): Promise<void> {
  await mkdir(dirname(join(tree, file)), { recursive: true });
  await copyFile(file, join(tree, file));
}
