import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Counts, Line } from './reporter.ts';

export type Problem = { readonly title: string; readonly text: string };
/** `hear` is given all that is printed, as it comes; `env` is added to the environment. */
export type FileRun = {
  readonly timeoutMs: number;
  readonly isLoud?: boolean;
  readonly niceness?: number;
  readonly env?: NodeJS.ProcessEnv;
  readonly hear?: (data: Buffer) => void;
};
export type FileOutcome = { readonly counts: Counts; readonly problems: readonly Problem[]; readonly ms: number };

export const NO_COUNTS: Counts = { tests: 0, suites: 0, passed: 0, failed: 0, cancelled: 0, skipped: 0, todo: 0 };
const REPORTER = resolve(import.meta.dirname, 'reporter.ts');
const FOR_PEOPLE = ['--test-reporter=spec', '--test-reporter-destination=stdout'];
/** Compiled TypeScript, of all test files and of what they start. */
const COMPILED = resolve('.cache/compiled');
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
    const report = join(directory, 'report');
    const ended = await runProcess(run, { path, report }, deadline);
    const lines = (await readFile(report, 'utf8').catch(() => '')).split('\n').flatMap(parseLine);
    return { ...sumUp(path, lines, ended), ms: performance.now() - started };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

type Ended = { readonly code: number | null; readonly output: string; readonly isLate: boolean };

async function runProcess(
  { timeoutMs, isLoud, niceness = 0, env: more, hear }: FileRun,
  { path, report }: { readonly path: string; readonly report: string },
  deadline: AbortSignal,
): Promise<Ended> {
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
  const env = { NODE_COMPILE_CACHE: COMPILED, ...inherited, ...more };
  const reporter = [`--test-reporter=${REPORTER}`, `--test-reporter-destination=${report}`];
  const args = [`--test-timeout=${timeoutMs}`, ...reporter, ...(isLoud ? FOR_PEOPLE : []), path];
  const child = spawn('nice', ['-n', String(niceness), process.execPath, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let isLate = false;
  const take = (data: Buffer) => {
    if (isLoud) process.stdout.write(data);
    hear?.(data);
    output = `${output}${data}`.slice(-OUTPUT_TAIL);
  };
  child.stdout.on('data', take);
  child.stderr.on('data', take);
  const stop = () => {
    isLate = true;
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
  return { code, output, isLate };
}

function sumUp(path: string, lines: readonly Line[], { code, output, isLate }: Ended): Omit<FileOutcome, 'ms'> {
  const problems: Problem[] = [];
  let total: Counts | undefined;
  for (const line of lines) {
    if (line.kind === 'total') total = line.counts;
    else problems.push({ title: `${line.kind}: ${line.name} (${line.where})`, text: line.text });
  }
  const cut = isLate ? 'did not end in its time' : `ended with ${code} before its summary`;
  if (isLate || total === undefined) problems.push({ title: `${path} ${cut}`, text: '' });
  else if (code !== 0 && problems.length === 0) problems.push({ title: `${path} ended with ${code}`, text: '' });
  if (problems.length > 0 && output !== '') problems.push({ title: `output of ${path} (its end)`, text: output });
  const counts = total ?? { ...NO_COUNTS, tests: 1, failed: 1 };
  if (problems.length > 0 && counts.failed + counts.cancelled + counts.skipped + counts.todo === 0)
    return { counts: { ...counts, failed: 1 }, problems };
  return { counts, problems };
}

function parseLine(raw: string): Line[] {
  try {
    return raw === '' ? [] : [JSON.parse(raw) as Line];
  } catch {
    return []; // the last one of a process that was stopped
  }
}
