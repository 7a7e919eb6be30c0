import type { ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { startWaystation, waystation, waystationJson } from './command.ts';
import { getLocal } from './local-api.ts';

export type Addresses = { readonly httpUrl: string; readonly httpsUrl: string; readonly tftpPort: number };

/** One real server process with its own data directory. */
export type LabServer = {
  /** Of who was made by `initServer`: what signs in to its console. */
  readonly operatorToken?: string;
  readonly name: string;
  readonly dataDir: string;
  readonly netns: string | undefined;
  readonly addresses: Addresses;
  readonly process: ChildProcess;
  /**
   * Runs `waystation ARGS --json` against this server, by its local socket; throws unless it exits 0. Not in the
   * server's namespace: `engine build` fetches packages, and the namespaces of a lab reach nobody but each other.
   */
  json<Document>(...args: string[]): Promise<Document>;
  /** GET over the local socket. */
  get<Document>(path: string): Promise<Document>;
  /** SIGTERM, and resolves when the process is gone. */
  stop(): Promise<void>;
};

export type ServerOptions = {
  readonly name: string;
  readonly dataDir: string;
  readonly netns?: string | undefined;
  readonly initArgs?: readonly string[];
  readonly env?: Record<string, string>;
};

/** `waystation init` and `waystation serve`; resolves when serve printed its addresses. */
export async function initServer(options: ServerOptions): Promise<LabServer> {
  const finished = await waystation(['init', '--name', options.name, ...(options.initArgs ?? []), '--json'], options);
  if (finished.code !== 0) throw new Error(`init ${options.name}: exit ${finished.code}\n${finished.stdout}${finished.stderr}`);
  const { token } = JSON.parse(finished.stdout) as { token: string };
  return { ...(await startServer(options)), operatorToken: token };
}

/** Starts `serve` on an initialised directory. Its log goes to DIR.serve.log beside the directory. */
export async function startServer(options: ServerOptions): Promise<LabServer> {
  const child = startWaystation(['serve', '--json'], options);
  const log = createWriteStream(`${options.dataDir}.serve.log`, { flags: 'a' });
  child.stderr?.pipe(log);
  const addresses = await firstLine(child, options);
  child.stdout?.pipe(log);
  return {
    name: options.name,
    dataDir: options.dataDir,
    netns: options.netns,
    addresses,
    process: child,
    json: (...args) => waystationJson(args, { dataDir: options.dataDir, ...(options.env ? { env: options.env } : {}) }),
    get: (path) => getLocal(options.dataDir, path),
    stop: () => stopChild(child),
  };
}

function firstLine(child: ChildProcess, options: ServerOptions): Promise<Addresses> {
  return new Promise((resolve, reject) => {
    if (!child.stdout) throw new Error('serve has no stdout');
    const lines = createInterface({ input: child.stdout });
    const errors: Buffer[] = [];
    child.stderr?.on('data', (data: Buffer) => errors.push(data));
    lines.once('line', (line) => {
      lines.close();
      try {
        const parsed = JSON.parse(line) as Addresses & { error?: { message: string } };
        if (parsed.error) reject(new Error(`serve ${options.name}: ${line}`));
        else resolve(parsed);
      } catch (cause) {
        reject(new Error(`serve ${options.name} printed "${line}"`, { cause }));
      }
    });
    child.once('exit', (code) => reject(new Error(`serve ${options.name} ended with ${code}: ${Buffer.concat(errors)}`)));
  });
}

export async function stopChild(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await gone;
}
