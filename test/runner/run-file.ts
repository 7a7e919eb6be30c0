import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Counts } from './reporter.ts';
import { askWhatIsOpen, reportArguments } from './still-open.ts';
import { type Ended, type Problem, readLines, sumUp } from './sum-up.ts';

/** `hear` is given all that is printed, as it comes; `env` is added to the environment. */
export type FileRun = {
  readonly timeoutMs: number;
  readonly isLoud?: boolean;
  readonly niceness?: number;
  readonly env?: NodeJS.ProcessEnv;
  readonly hear?: (data: Buffer) => void;
};
export type FileOutcome = { readonly counts: Counts; readonly problems: readonly Problem[]; readonly ms: number };

const REPORTER = resolve(import.meta.dirname, 'reporter.ts');
const FOR_PEOPLE = ['--test-reporter=spec', '--test-reporter-destination=stdout'];
/** Compiled TypeScript, of all test files and of what they start. */
const COMPILED = resolve('.cache/compiled');
/** Of what a test says of itself in its directory: its results, and what is open when it does not end. */
const REPORT = 'report';
const OPEN = 'open.json';
/** A test that hangs is ended by node, which names it, before the file is. */
const SHARE_OF_A_TEST = 0.8;
const OUTPUT_TAIL = 4_000;
const KILL_AFTER_MS = 10_000;

/**
 * Runs one test file as a process of its own that reports into a file. Not by `node --test`: there results and what tests print
 * share one pipe, and Node 24 takes what is printed right behind a result for the head of the next one; then the results
 * of the file are lost, or those of the whole group (nodejs/node#64061).
 */
export async function runFile(run: FileRun, path: string, deadline: AbortSignal): Promise<FileOutcome> {
  const started = performance.now();
  const directory = await mkdtemp(join(tmpdir(), 'waystation-report-'));
  try {
    const ended = await runProcess(run, { path, directory }, deadline);
    const lines = readLines(await readFile(join(directory, REPORT), 'utf8').catch(() => ''));
    return { ...sumUp(path, lines, ended), ms: performance.now() - started };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function runProcess(
  { timeoutMs, isLoud, niceness = 0, env: more, hear }: FileRun,
  { path, directory }: { readonly path: string; readonly directory: string },
  deadline: AbortSignal,
): Promise<Ended> {
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
  const env = { NODE_COMPILE_CACHE: COMPILED, ...inherited, ...more };
  const reporter = [`--test-reporter=${REPORTER}`, `--test-reporter-destination=${join(directory, REPORT)}`];
  const limit = `--test-timeout=${Math.round(timeoutMs * SHARE_OF_A_TEST)}`;
  const args = [...reportArguments(directory, OPEN), limit, ...reporter, ...(isLoud ? FOR_PEOPLE : []), path];
  const child = spawn('nice', ['-n', String(niceness), process.execPath, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let open: string | undefined;
  const take = (data: Buffer) => {
    if (isLoud) process.stdout.write(data);
    hear?.(data);
    output = `${output}${data}`.slice(-OUTPUT_TAIL);
  };
  child.stdout.on('data', take);
  child.stderr.on('data', take);
  const stop = async () => {
    open = '';
    open = await askWhatIsOpen(child, join(directory, OPEN));
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS).unref();
  };
  // --test-timeout ends a test, not a file that something keeps open after its tests.
  const timer = setTimeout(stop, timeoutMs);
  deadline.addEventListener('abort', stop);
  const closed = once(child, 'close');
  const code = await new Promise<number | null>((done) => child.once('exit', done));
  clearTimeout(timer);
  deadline.removeEventListener('abort', stop);
  // What a test left behind may hold its output open for ever.
  await Promise.race([closed, sleep(1_000, undefined, { ref: false })]);
  child.stdout.destroy();
  child.stderr.destroy();
  return { code, output, open };
}
