import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { makeSite } from '../../test/helpers/replication-sites.ts';
import { CLEAN_ENV } from '../../test/helpers/run-cli.ts';
import { firstLine } from '../sync/measure.ts';

/*
 * Headquarters and a branch on this machine, each a `waystation serve` as a user starts it: by cli/waystation, which sets
 * what its Node and the memory allocator are told.
 */
const COMMAND = fileURLToPath(new URL('../../cli/waystation', import.meta.url));
const ENV = { ...CLEAN_ENV, WAYSTATION_STORE_RESERVE_BYTES: '1000000' };
const run = promisify(execFile);

export type Served = { readonly pid: number; readonly httpsUrl: string; stop(): Promise<void> };

/** A command at one side; what it printed with --json. */
export async function waystation<Document>(root: string, side: string, words: readonly string[]): Promise<Document> {
  const { stdout } = await run(COMMAND, ['--data', join(root, side), ...words, '--json'], { env: ENV, maxBuffer: 1 << 24 });
  return JSON.parse(stdout) as Document;
}

export async function serve(root: string, side: string): Promise<Served> {
  const argv = ['--data', join(root, side), 'serve', '--http-port', '0', '--https-port', '0', '--tftp-port', '0', '--json'];
  const child: ChildProcess = spawn(COMMAND, argv, { stdio: ['ignore', 'pipe', 'inherit'], env: ENV });
  const { httpsUrl } = JSON.parse(await firstLine(child)) as { httpsUrl: string };
  return {
    pid: child.pid as number,
    httpsUrl,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      await gone;
    },
  };
}

/** Two data directories; the branch is enrolled, and nobody serves it yet. Gives headquarters, running. */
export async function makeSides(root: string): Promise<Served> {
  await mkdir(root, { recursive: true });
  for (const side of ['hq', 'branch']) await (await makeSite(root, side)).close();
  const hq = await serve(root, 'hq');
  const { token } = await waystation<{ token: string }>(root, 'hq', ['server', 'token']);
  const file = join(root, 'enrol');
  await writeFile(file, token, { mode: 0o600 });
  await waystation(root, 'branch', ['server', 'join', hq.httpsUrl, '--enrol-file', file]);
  return hq;
}
