import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The top of the tree under test. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

export type CommandOptions = {
  readonly dataDir?: string;
  /** Run inside this network namespace (needs root). */
  readonly netns?: string | undefined;
  readonly env?: Record<string, string>;
  readonly input?: string;
  readonly timeoutMs?: number;
};

export type Finished = {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
};

/** Starts the real command line, `cli/waystation ARGS [--data DIR]`, as a user's shell would. */
export function startWaystation(args: readonly string[], options: CommandOptions = {}): ChildProcess {
  const command = [`${ROOT}cli/waystation`, ...args, ...(options.dataDir ? ['--data', options.dataDir] : [])];
  const argv = options.netns ? ['ip', 'netns', 'exec', options.netns, ...command] : command;
  const child = spawn(argv[0] as string, argv.slice(1), { env: { ...process.env, ...options.env }, stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin?.end(options.input ?? '');
  return child;
}

/** Runs a command to its end. */
export async function waystation(args: readonly string[], options: CommandOptions = {}): Promise<Finished> {
  const child = startWaystation(args, options);
  const timer = options.timeoutMs ? setTimeout(() => child.kill('SIGKILL'), options.timeoutMs) : undefined;
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on('data', (data: Buffer) => stdout.push(data));
  child.stderr?.on('data', (data: Buffer) => stderr.push(data));
  const { code, signal } = await new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (closedCode, closedSignal) => resolve({ code: closedCode, signal: closedSignal }));
  });
  clearTimeout(timer);
  return { code, signal, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
}

/** Runs a command that must succeed and gives its JSON document. */
export async function waystationJson<Document>(args: readonly string[], options: CommandOptions = {}): Promise<Document> {
  const finished = await waystation([...args, '--json'], options);
  if (finished.code !== 0) {
    throw new Error(`waystation ${args.join(' ')}: exit ${finished.code ?? finished.signal}\n${finished.stdout}${finished.stderr}`);
  }
  return JSON.parse(finished.stdout) as Document;
}
