import { type ChildProcess, execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { makeSite } from '../../test/helpers/replication-sites.ts';
import { CLEAN_ENV } from '../../test/helpers/run-cli.ts';
import type { Wan } from '../../test/helpers/wan.ts';
import { firstLine } from './measure.ts';

/*
 * The real thing: two `waystation serve` in the two namespaces, driven by the command line. A pair of data directories is
 * made once (headquarters with the base, a branch that has replicated it) and copied for every measurement.
 */
/** As a user starts it: with what it tells its Node and the memory allocator. */
const COMMAND = fileURLToPath(new URL('../../cli/waystation', import.meta.url));
const HTTPS_PORT = 8443;
const IMAGE = 'debian';
const run = promisify(execFile);

export type RunResult = {
  readonly state: string;
  readonly startedAt: string;
  readonly endedAt: string;
  readonly bytesRsync: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly requests: number;
  readonly error: { readonly message: string } | null;
};

export type Side = 'hq' | 'branch';
export type Place = { readonly wan: Wan; readonly root: string };

export function directoryOf(root: string, side: Side): string {
  return join(root, side);
}

/** A command in the namespace of its side; what it printed with --json. */
export async function waystation<Document>({ wan, root }: Place, side: Side, words: readonly string[]): Promise<Document> {
  const argv = [COMMAND, '--data', directoryOf(root, side), ...words, '--json'];
  const child = wan[side].spawn(argv, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...CLEAN_ENV, ...ENV } });
  let output = '';
  let complaints = '';
  child.stdout?.on('data', (text) => (output += text));
  child.stderr?.on('data', (text) => (complaints += text));
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Error(`waystation ${words.join(' ')} ended with ${status}: ${output}${complaints}`);
  return JSON.parse(output) as Document;
}

const ENV = { WAYSTATION_STORE_RESERVE_BYTES: '1000000' };

export type Server = { readonly pid: number; stop(): Promise<void> };

export async function serve({ wan, root }: Place, side: Side): Promise<Server> {
  const argv = [COMMAND, '--data', directoryOf(root, side), 'serve', '--json'];
  const child: ChildProcess = wan[side].spawn(argv, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...CLEAN_ENV, ...ENV } });
  await firstLine(child);
  return {
    pid: child.pid as number,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      await gone;
    },
  };
}

/** Headquarters with `base` imported and a branch that is enrolled and has nothing; both stopped. */
export async function makePair(place: Place, base: string): Promise<void> {
  const { root, wan } = place;
  await rm(root, { recursive: true, force: true });
  await mkdir(root, { recursive: true });
  await (await makeSite(root, 'hq', { httpsPort: HTTPS_PORT })).close();
  await (await makeSite(root, 'branch')).close();
  await waystation(place, 'hq', ['image', 'import', base, '--name', IMAGE]);
  const hq = await serve(place, 'hq');
  try {
    const { token } = await waystation<{ token: string }>(place, 'hq', ['server', 'token']);
    const file = join(root, 'enrol');
    await writeFile(file, token, { mode: 0o600 });
    await waystation(place, 'branch', ['server', 'join', `https://${wan.hqAddress}:${HTTPS_PORT}`, '--enrol-file', file]);
  } finally {
    await hq.stop();
  }
}

/** Imports a successor as the image's next version. */
export async function importNext(place: Place, path: string): Promise<void> {
  await waystation(place, 'hq', ['image', 'import', path, '--name', IMAGE]);
}

export async function copyDirectory(from: string, to: string): Promise<void> {
  await rm(to, { recursive: true, force: true });
  await run('cp', ['-a', '--reflink=auto', from, to]);
}

/** One run to its end by the command line. Throws when it did not end well. */
export async function syncRun(place: Place): Promise<RunResult> {
  const result = await waystation<RunResult>(place, 'branch', ['sync', 'run', '--wait']);
  if (result.state !== 'done') throw new Error(`the run ended ${result.state}: ${result.error?.message}`);
  return result;
}

export function secondsOf(result: RunResult): number {
  return (Date.parse(result.endedAt) - Date.parse(result.startedAt)) / 1000;
}
