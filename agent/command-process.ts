import { spawn } from 'node:child_process';
import { AppError } from '../core/errors.ts';

/** Output of the programs we call is a few lines; more is not read. */
const MAX_OUTPUT = 64 * 1024;

/**
 * Runs a program of the engine with arguments, no shell, and gives its standard output.
 * Errors: `missing_program`; `failed` with the last line it wrote.
 */
export function runProgram(program: string, args: readonly string[]): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let complaint = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(0, MAX_OUTPUT);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-1000);
  });
  child.on('error', (cause) => reject(new AppError('missing_program', `cannot run ${program}`, { cause })));
  child.on('close', (status) => {
    if (status === 0) resolve(output);
    else reject(new AppError('failed', `${program} ended with status ${status}: ${complaint.trim().split('\n').at(-1) ?? ''}`));
  });
  return promise;
}
