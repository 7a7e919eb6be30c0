import { Readable, Writable } from 'node:stream';
import type { World } from '../../cli/frame.ts';
import { runCommand } from '../../cli/main.ts';

export type CliResult = { readonly code: number; readonly stdout: string; readonly stderr: string };

/** Only what every machine has: no setting of the one that runs the tests gets in. What is compiled already stays so. */
export const CLEAN_ENV: NodeJS.ProcessEnv = {
  PATH: process.env['PATH'],
  WAYSTATION_DATASOURCES: '/nonexistent',
  NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
};

export type CliOptions = { readonly env?: NodeJS.ProcessEnv; readonly stdin?: string; readonly signal?: AbortSignal };

/** Runs a command line in this process; `env` is added to a clean one. */
export async function runCli(
  argv: readonly string[],
  { env = {}, stdin = '', signal = new AbortController().signal }: CliOptions = {},
): Promise<CliResult> {
  const stdout = collector();
  const stderr = collector();
  const world: World = {
    stdout: stdout.stream,
    stderr: stderr.stream,
    stdin: Readable.from(stdin === '' ? [] : [stdin]),
    env: { ...CLEAN_ENV, ...env },
    signal: () => signal,
  };
  const code = await runCommand(argv, world);
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}

/** As `runCli` with --json; the document is the only thing on standard output, or this throws. */
export async function runJson<Document = Record<string, unknown>>(
  argv: readonly string[],
  options: CliOptions = {},
): Promise<{ code: number; document: Document }> {
  const { code, stdout } = await runCli([...argv, '--json'], options);
  return { code, document: JSON.parse(stdout) as Document };
}

function collector(): { stream: Writable; text: () => string } {
  const chunks: Buffer[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      chunks.push(Buffer.from(chunk));
      done();
    },
  });
  return { stream, text: () => Buffer.concat(chunks).toString('utf8') };
}
