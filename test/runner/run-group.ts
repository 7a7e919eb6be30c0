import { spawn } from 'node:child_process';
import { relative } from 'node:path';
import { createInterface } from 'node:readline';
import type { Group } from './groups.ts';
import type { Counts, Line } from './reporter.ts';

export type Problem = { readonly title: string; readonly text: string };
export type Outcome = {
  readonly name: string;
  readonly counts: Counts;
  readonly problems: readonly Problem[];
  readonly ms: number;
};

export const NO_COUNTS: Counts = { tests: 0, suites: 0, passed: 0, failed: 0, cancelled: 0, skipped: 0, todo: 0 };
const OUTPUT_TAIL = 4_000;
const SILENCE_SLACK_MS = 60_000;

/** Runs the files of one group under `node --test`, printing a line per finished file. */
export async function runGroup(group: Group, files: readonly string[], deadline: AbortSignal): Promise<Outcome> {
  const started = performance.now();
  if (files.length === 0) return broken(group.name, 'no test file matches this group', started);
  const gathered = new Gathered(group.isLoud ?? false);
  const child = spawn(process.execPath, [...nodeArguments(group), ...files], { stdio: ['ignore', 'pipe', 'inherit'] });
  const stop = () => void child.kill('SIGTERM');
  deadline.addEventListener('abort', stop);
  // --test-timeout ends a test, not a file that something keeps open after its tests: silence ends the whole group.
  const silence = setTimeout(stop, group.timeoutMs + SILENCE_SLACK_MS);
  for await (const line of createInterface({ input: child.stdout })) {
    silence.refresh();
    gathered.take(line);
  }
  clearTimeout(silence);
  const code = await new Promise<number | null>((resolve) =>
    child.exitCode !== null || child.signalCode !== null ? resolve(child.exitCode) : child.once('exit', resolve),
  );
  deadline.removeEventListener('abort', stop);
  const ms = performance.now() - started;
  if (!gathered.total) return broken(group.name, `the runner ended with ${code} before its summary`, started, gathered.problems);
  const problems = [...gathered.problems];
  if (code !== 0 && problems.length === 0) problems.push({ title: `${group.name}: node --test ended with ${code}`, text: '' });
  return { name: group.name, counts: gathered.total, problems, ms };
}

function nodeArguments(group: Group): string[] {
  return [
    '--test',
    `--test-concurrency=${group.concurrency}`,
    `--test-timeout=${group.timeoutMs}`,
    '--test-reporter=./test/runner/reporter.ts',
    '--test-reporter-destination=stdout',
  ];
}

function broken(name: string, why: string, started: number, seen: readonly Problem[] = []): Outcome {
  const problems = [...seen, { title: `${name}: ${why}`, text: '' }];
  return { name, counts: { ...NO_COUNTS, tests: 1, failed: 1 }, problems, ms: performance.now() - started };
}

class Gathered {
  readonly problems: Problem[] = [];
  total: Counts | undefined;
  readonly #isLoud: boolean;
  readonly #output = new Map<string, string>();

  constructor(isLoud: boolean) {
    this.#isLoud = isLoud;
  }

  take(raw: string): void {
    const line = parseLine(raw);
    if (!line) {
      console.log(raw);
      return;
    }
    if (line.kind === 'total') this.total = line.counts;
    else if (line.kind === 'file') this.#file(line);
    else if (line.kind === 'output' && this.#isLoud) process.stdout.write(line.text);
    else if (line.kind === 'output') this.#output.set(line.path, `${this.#output.get(line.path) ?? ''}${line.text}`.slice(-OUTPUT_TAIL));
    else this.problems.push({ title: `${line.kind}: ${line.name} (${short(line.where)})`, text: line.text });
  }

  #file(line: Extract<Line, { kind: 'file' }>): void {
    const failed = line.failed > 0;
    console.log(
      `${failed ? '✖' : '✔'} ${short(line.path)}  ${line.passed} passed${failed ? `, ${line.failed} FAILED` : ''}  ${(line.ms / 1000).toFixed(1)} s`,
    );
    const output = this.#output.get(line.path);
    if (failed && output) this.problems.push({ title: `output of ${short(line.path)} (its end)`, text: output });
    this.#output.delete(line.path);
  }
}

function parseLine(raw: string): Line | undefined {
  if (!raw.startsWith('{"kind":')) return undefined;
  try {
    return JSON.parse(raw) as Line;
  } catch {
    return undefined;
  }
}

function short(path: string): string {
  return path.startsWith('/') ? relative(process.cwd(), path) : path;
}
