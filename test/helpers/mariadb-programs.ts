import { spawnSync } from 'node:child_process';

/** Of what a query gives: a row for each of 100,000 steps is 5 MB. */
const MOST_OUTPUT_BYTES = 64_000_000;

/** Where a program of MariaDB is: Debian keeps the server itself in /usr/sbin, which is not on every user's PATH. */
export function program(name: string): string {
  const found = spawnSync('sh', ['-c', `PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v ${name}`], { encoding: 'utf8' }).stdout.trim();
  if (found === '') throw new Error(`${name} is not installed (Debian: mariadb-server)`);
  return found;
}

/** What a program of MariaDB prints; throws with its words when it fails. This process stands still meanwhile. */
export function run(name: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program(name), args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: MOST_OUTPUT_BYTES,
  });
  if (status !== 0) throw new Error(`${name} failed: ${error?.message ?? stderr}`);
  return stdout;
}
