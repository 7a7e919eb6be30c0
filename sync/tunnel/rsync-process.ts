import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import type { FileHandle } from 'node:fs/promises';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../core/errors.ts';
import { rsyncArguments } from './rsync-arguments.ts';

const PIPE = fileURLToPath(new URL('./waystation-pipe', import.meta.url));
const PERL = '/usr/bin/perl';

/** How an rsync ended: its exit status (null after a signal) and the last of what it said. */
export type RsyncEnd = { readonly status: number | null; readonly words: string };

/**
 * Fetches one part into `directory` through the pipe that connects to `socketPath` with `ticket`. The lock's
 * descriptor is inherited by rsync, its receiver and the pipe: as long as one of them lives, the lock is held.
 * Resolves however rsync ended; throws `missing_program` when there is none. `signal` kills it.
 */
export function fetchPart(request: {
  readonly part: string;
  /** The part's declared size: its file never grows beyond it (by more than the octet that shows that it would have). */
  readonly sizeBytes: number;
  readonly directory: string;
  readonly socketPath: string;
  readonly ticket: string;
  readonly lock: FileHandle;
  readonly signal: AbortSignal;
}): Promise<RsyncEnd> {
  const remoteShell = [PERL, PIPE];
  // What a sender declares, and which blocks of ours it has the receiver repeat, is no measure of what is written: the kernel's limit is.
  const limited = [`--fsize=${request.sizeBytes + 1}`, 'rsync', ...rsyncArguments({ part: request.part, remoteShell })];
  const child = spawn('prlimit', limited, {
    cwd: request.directory,
    env: { ...plainEnvironment(), WAYSTATION_PIPE_SOCKET: request.socketPath, WAYSTATION_PIPE_TICKET: request.ticket },
    stdio: ['ignore', 'ignore', 'pipe', request.lock.fd],
    signal: request.signal,
    killSignal: 'SIGTERM',
  });
  return orMissing(ended(child, 'prlimit', 'util-linux'));
}

/** prlimit ends with 127 when there is no rsync. */
async function orMissing(ending: Promise<RsyncEnd>): Promise<RsyncEnd> {
  const end = await ending;
  if (end.status === 127 && /failed to execute rsync/.test(end.words)) throw missingProgram('rsync', 'rsync');
  return end;
}

/**
 * The parent's end: an rsync daemon for exactly one connection, on a pair of pipes. `ended` resolves when the
 * process is gone; `kill` is harmless then.
 */
export function startDaemon(configPath: string): {
  readonly input: Writable;
  readonly output: Readable;
  readonly ended: Promise<RsyncEnd>;
  readonly kill: () => void;
} {
  const child = spawn('rsync', ['--server', '--daemon', `--config=${configPath}`, '.'], { env: plainEnvironment(), stdio: 'pipe' });
  return { input: child.stdin, output: child.stdout, ended: ended(child), kill: () => void child.kill('SIGKILL') };
}

/**
 * Takes the lock behind an open directory, waiting at most `waitSeconds` for whoever holds it; false when they kept it.
 * Aborting `signal` ends the wait with its reason.
 */
export async function takeFileLock(handle: FileHandle, waitSeconds: number, signal?: AbortSignal): Promise<boolean> {
  const stdio: StdioOptions = ['ignore', 'ignore', 'pipe', handle.fd];
  const child = spawn('flock', ['--exclusive', '--timeout', String(waitSeconds), '3'], { stdio, ...(signal ? { signal } : {}) });
  const { status, words } = await ended(child, 'flock', 'util-linux');
  signal?.throwIfAborted();
  if (status !== 0 && status !== 1) throw new AppError('failed', `flock ended with ${status}: ${words}`);
  return status === 0;
}

/** Nothing of ours goes to rsync by way of the environment: no secrets, no RSYNC_ variables that change what it does. */
function plainEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C', HOME: '/nonexistent' };
}

function ended(child: ChildProcess, program = 'rsync', debianPackage = 'rsync'): Promise<RsyncEnd> {
  return new Promise((resolve, reject) => {
    let words = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      words = (words + text).slice(-2000);
    });
    child.on('error', (cause: NodeJS.ErrnoException) => {
      if (cause.name === 'AbortError') return;
      reject(cause.code === 'ENOENT' ? missingProgram(program, debianPackage) : cause);
    });
    child.on('close', (status) => resolve({ status, words: words.trim() }));
  });
}

function missingProgram(program: string, debianPackage: string): AppError {
  return new AppError('missing_program', `the program "${program}" is not there; replication works with it`, {
    hint: `apt install ${debianPackage}`,
  });
}
