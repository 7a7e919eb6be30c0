import { execFileSync } from 'node:child_process';
import { closeSync, copyFileSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { basename, join } from 'node:path';
import type { Count } from '../helpers/how-many.ts';
import { type FileOutcome, runFile } from './run-file.ts';
import { lineOf, type Outcome, sumFiles } from './run-group.ts';

/** The longest of them, 20 power cuts on a busy machine, have half of it. */
const FILE_TIMEOUT_MS = 8 * 3_600_000;
const RUNNING = '.cache/soak';

/** What a test file says of how much it repeats, with `howMany` of test/helpers; empty for one that repeats nothing. */
export function countsOf(text: string): Count[] {
  const calls = text.matchAll(/^const \w+ = howMany\(\{ sample: (\d+), full: (\d+|Number\.POSITIVE_INFINITY) \}\);$/gm);
  return [...calls].map(([, sample, full]) => ({
    sample: Number(sample),
    full: /^\d/.test(full ?? '') ? Number(full) : Number.POSITIVE_INFINITY,
  }));
}

/** By what `make soak ONLY=…` calls a test file, and what its log is named after: `kills` of test/integration/kills.test.ts. */
export function soakName(path: string): string {
  return basename(path).replace(/\.test\.\w+$/, '');
}

/** A word of the caller's that means nothing here: told in its line alone. */
export class UsageError extends Error {}

/** Of test files, those that repeat something; with `only` (names, a space or comma between them) those. Throws `UsageError` for a name that none has. */
export function soakFiles(paths: readonly string[], only = ''): string[] {
  const files = paths.filter((path) => countsOf(readFileSync(path, 'utf8')).length > 0);
  const names = only.split(/[ ,]+/).filter(Boolean);
  const unknown = names.find((name) => !files.some((path) => soakName(path) === name));
  if (unknown !== undefined) throw new UsageError(`ONLY: "${unknown}" is none of ${files.map(soakName).join(' ')}`);
  return names.length === 0 ? files : files.filter((path) => names.includes(soakName(path)));
}

/**
 * Runs the tests that repeat themselves in full, one file after the other, whatever becomes of the one before. What a file
 * prints (seeds, stages, figures) is its log: under .cache/soak, and once the file has ended in `logs` too, so that a run that
 * is broken off takes no log away; undefined, where N said another count, keeps it out of there.
 */
export async function runSoak(
  paths: readonly string[],
  deadline: AbortSignal,
  logs = process.env['N'] ? undefined : 'docs/evidence',
): Promise<Outcome> {
  const started = performance.now();
  const commit = commitHere();
  const ended: FileOutcome[] = [];
  const summary: string[] = [];
  for (const path of paths) {
    const log = openLog(path, commit);
    const outcome = await runFile({ timeoutMs: FILE_TIMEOUT_MS, isLoud: true, env: { SOAK: '1' }, hear: log.write }, path, deadline);
    const line = `n = ${numbersOf(path)}: ${lineOf(path, outcome)}`;
    summary.push(`${line}  ${log.close(`${line}\nended ${moment()}`, logs)}`);
    ended.push(outcome);
  }
  console.log(`\n${summary.join('\n')}`);
  return sumFiles('soak', ended, performance.now() - started);
}

type Log = { readonly write: (data: Uint8Array) => void; readonly close: (words: string, into: string | undefined) => string };

/** Begins the log of one file anew: what is run, how often, of which commit, when, and beside how much. */
function openLog(path: string, commit: string): Log {
  mkdirSync(RUNNING, { recursive: true });
  const name = `${soakName(path)}.log`;
  const log = join(RUNNING, name);
  const file = openSync(log, 'w');
  writeSync(
    file,
    `${path}, n = ${numbersOf(path)}${process.env['SEED'] ? `, SEED=${process.env['SEED']}` : ''}, commit ${commit}\nbegun ${moment()}\n`,
  );
  const close = (words: string, into: string | undefined) => {
    writeSync(file, `${words}\n`);
    closeSync(file);
    if (into === undefined) return log;
    mkdirSync(into, { recursive: true });
    copyFileSync(log, join(into, name));
    return join(into, name);
  };
  return { write: (data) => writeSync(file, data), close };
}

function numbersOf(path: string): string {
  const full = countsOf(readFileSync(path, 'utf8')).map((count) => (Number.isFinite(count.full) ? String(count.full) : 'all'));
  return process.env['N'] || full.join(' and ');
}

const moment = () => `${new Date().toISOString().slice(0, 16)}Z, ${availableParallelism()} cores, load ${loadavg()[0]?.toFixed(1)}`;

/** The commit at work, with a word when something else than logs differs from it. */
function commitHere(): string {
  try {
    const git = (...args: string[]) => execFileSync('git', ['-c', 'safe.directory=*', ...args], { encoding: 'utf8' }).trim();
    const changed = git('status', '--porcelain', '--', '.', ':!docs/evidence');
    return `${git('log', '-1', '--format=%h of %cs')}${changed === '' ? '' : ', with changes'}`;
  } catch {
    return 'unknown';
  }
}
