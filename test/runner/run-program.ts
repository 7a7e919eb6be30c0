import { spawn } from 'node:child_process';
import type { Outcome } from './run-group.ts';
import { NO_COUNTS } from './sum-up.ts';

/** Checks that are programs of their own; each counts as one test. */
export const PROGRAMS: { readonly [name: string]: readonly [string, ...string[]] } = {
  types: ['node_modules/.bin/tsc', '--noEmit'],
  'console types': ['node_modules/.bin/tsc', '--noEmit', '-p', 'web'],
  lint: ['node_modules/.bin/biome', 'check', '.', '--max-diagnostics=50', '--diagnostic-level=warn', '--error-on-warnings'],
};

/** Runs one of PROGRAMS under the pinned Node; what it says is shown, and again at the end when it failed. */
export async function runProgram(name: string, deadline: AbortSignal): Promise<Outcome> {
  const [program, ...args] = PROGRAMS[name] ?? ['false'];
  const started = performance.now();
  const path = `${process.cwd()}/node_modules/.bin:${process.env['PATH']}`;
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, PATH: path }, signal: deadline });
  const said: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => said.push(data));
  const code = await new Promise<number | string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (status, signal) => resolve(status ?? signal ?? 'killed'));
  });
  const failed = code !== 0;
  const problems = failed ? [{ title: `${name} failed (${code})`, text: String(Buffer.concat(said)).slice(0, 20_000) }] : [];
  const counts = { ...NO_COUNTS, tests: 1, passed: failed ? 0 : 1, failed: failed ? 1 : 0 };
  return { name, counts, problems, ms: performance.now() - started };
}
