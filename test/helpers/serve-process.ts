import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { CLEAN_ENV } from './run-cli.ts';

const MAIN = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));

/** `waystation serve` as a process of its own, for tests that kill it. */
export type ServeProcess = {
  readonly child: ChildProcess;
  readonly httpUrl: string;
  readonly httpsPort: number;
  /** What it has said on standard error. */
  words(): string;
  /** SIGKILL; resolves when the process is gone. What it had started lives on. */
  kill(): Promise<void>;
  /** SIGTERM; resolves when the process is gone. */
  stop(): Promise<void>;
};

/** Starts it on an initialised directory and waits for its first line. Rejects with what it said when it ends instead. */
export async function startServeProcess(dataDir: string, env: NodeJS.ProcessEnv = {}): Promise<ServeProcess> {
  const child = spawn(process.execPath, ['--no-warnings', MAIN, '--data', dataDir, 'serve', '--json'], {
    env: { ...CLEAN_ENV, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let words = '';
  child.stderr.on('data', (text) => {
    words += text;
  });
  const ended = once(child, 'exit');
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await ended;
    }
  };
  const line = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), ended.then(() => undefined)]);
  if (line === undefined) throw new Error(`serve on ${dataDir} ended: ${words}`);
  child.stdout.resume();
  const { httpUrl, httpsUrl } = JSON.parse(String(line[0])) as { httpUrl: string; httpsUrl: string };
  return {
    child,
    httpUrl,
    httpsPort: Number(new URL(httpsUrl).port),
    words: () => words,
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
  };
}
