import { spawn } from 'node:child_process';
import { AppError } from '../../../core/errors.ts';

export type Command = {
  readonly program: string;
  /** What messages call it, when that is not `program`. */
  readonly label?: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  /** Added to our own environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Give what it wrote to standard error as well: for programs that complain there and still end with 0. */
  readonly mixed?: boolean;
  readonly signal?: AbortSignal;
};

/** Debian package of the programs we call from the host; all others come from packages we unpack ourselves. */
const PACKAGE_OF: Readonly<Record<string, string>> = { 'apt-get': 'apt', 'dpkg-deb': 'dpkg', tar: 'tar' };

function startError(program: string, cause: NodeJS.ErrnoException): AppError {
  if (cause.code !== 'ENOENT') return new AppError('failed', `cannot start ${program}: ${cause.message}`, { cause });
  const name = PACKAGE_OF[program];
  return new AppError('missing_program', `the program ${program} is not installed`, {
    hint: name ? `sudo apt-get install ${name}` : 'install it and try again',
    cause,
  });
}

/** The last lines of what a program complained about: enough for a message, never a whole log. apt's warnings hide its errors. */
function lastWords(text: string): string {
  const lines = text.trim().split('\n');
  return lines
    .filter((line) => !line.startsWith('W: '))
    .slice(-3)
    .join('; ')
    .slice(-600);
}

/**
 * Runs one program to its end and gives its standard output.
 *
 * Errors: `missing_program` when it is not installed; `failed` with its last words when it ends with
 * another status than 0. It is killed when `signal` aborts.
 */
export function runCommand(command: Command): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command.program, command.args, {
      cwd: command.cwd,
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC', ...command.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(command.signal ? { signal: command.signal } : {}),
    });
    const output: Buffer[] = [];
    let complaints = '';
    child.stdout.on('data', (data: Buffer) => output.push(data));
    child.stderr.on('data', (data: Buffer) => {
      complaints = (complaints + data.toString('utf8')).slice(-8192);
      if (command.mixed) output.push(data);
    });
    child.on('error', (error) => reject(startError(command.program, error)));
    child.on('close', (code, killed) => {
      const text = Buffer.concat(output).toString('utf8');
      if (code === 0) return resolve(text);
      const words = lastWords(complaints) || lastWords(text);
      reject(new AppError('failed', `${command.label ?? command.program} ended with ${killed ?? code}: ${words}`));
    });
  });
}
