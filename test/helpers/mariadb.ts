import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { putEmptyData } from './mariadb-data.ts';
import { program, run } from './mariadb-programs.ts';

export type Mariadb = {
  /** Base of database URLs: `mysql://waystation@ADDRESS:PORT/`; append a name made with `createDatabase`. */
  readonly url: string;
  readonly port: number;
  readonly password: string;
  createDatabase(name: string): void;
  /** As root. This process stands still meanwhile. */
  sql(text: string): void;
  /** What a query of root gives, columns between tabs. */
  ask(query: string): string;
  /** The same for statements that servers of this process may hold up: between tries they get on with their transactions. */
  sqlBeside(text: string): Promise<void>;
  /** The last lines of what it wrote about itself: how it came back, what it found. */
  errorLog(): string;
  /** SIGKILL: what was committed is on disk. */
  kill(): Promise<void>;
  /** Starts it again after `kill`, on the same port and directory. */
  start(): Promise<void>;
  /** Stops it and removes the directory. */
  stop(): Promise<void>;
};

const ERROR_LINES = 200;

/** Where it listens: an address of a network namespace, else loopback. */
export type MariadbPlace = { readonly netns?: string | undefined; readonly address?: string };

/** Starts a real MariaDB on a temporary directory and a free port, as an ordinary user or (as root) with --user=root. `args` are added. */
export async function startMariadb(args: readonly string[] = [], { netns, address = '127.0.0.1' }: MariadbPlace = {}): Promise<Mariadb> {
  const dir = await mkdtemp(join(tmpdir(), 'waystation-mariadb-'));
  const asUser = userInfo().uid === 0 ? ['--user=root'] : [];
  const socket = join(dir, 'sock');
  // Temporary tables are called by the process id, which another namespace may have as well: never in a common directory.
  const tmpdirs = [`--tmpdir=${dir}`];
  await putEmptyData(join(dir, 'data'));
  const port = await freePort();
  const sql = (text: string) => run('mariadb', ['--no-defaults', '-uroot', `--socket=${socket}`, '-e', text]);
  const begin = async () => {
    const inside = netns === undefined ? [] : ['ip', 'netns', 'exec', netns];
    const [command = '', ...words] = [
      ...inside,
      program('mariadbd'),
      ...serverArguments(dir, address, port),
      ...tmpdirs,
      ...asUser,
      ...args,
    ];
    const child = spawn(command, words, { stdio: 'ignore' });
    const exited = once(child, 'exit');
    await waitUntilUp(socket, child, join(dir, 'error.log'));
    return { child, exited };
  };
  let server = await begin();
  const end = async (signal: NodeJS.Signals) => {
    server.child.kill(signal);
    await server.exited;
  };
  const password = 'only-for-tests';
  sql(`create user waystation@'%' identified by '${password}'`);
  return {
    url: `mysql://waystation@${address}:${port}/`,
    port,
    password,
    createDatabase: (name) => {
      sql(`create database \`${name}\`; grant all on \`${name}\`.* to waystation@'%'`);
    },
    sql,
    ask: (query) => run('mariadb', ['--no-defaults', '-uroot', `--socket=${socket}`, '-N', '-e', query]),
    sqlBeside: async (text) => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          sql(`set session lock_wait_timeout = 1, innodb_lock_wait_timeout = 1; ${text}`);
          return;
        } catch (error) {
          if (attempt === 20) throw error;
          await new Promise((resolve) => setTimeout(resolve, 200));
        }
      }
    },
    errorLog: () => readFileSync(join(dir, 'error.log'), 'utf8').split('\n').slice(-ERROR_LINES).join('\n'),
    kill: () => end('SIGKILL'),
    start: async () => {
      server = await begin();
    },
    stop: async () => {
      await end('SIGTERM');
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function serverArguments(dir: string, address: string, port: number): string[] {
  return [
    '--no-defaults',
    `--datadir=${join(dir, 'data')}`,
    `--socket=${join(dir, 'sock')}`,
    `--bind-address=${address}`,
    `--port=${port}`,
    `--pid-file=${join(dir, 'pid')}`,
    `--log-error=${join(dir, 'error.log')}`,
    '--innodb-buffer-pool-size=32M',
    '--innodb-log-file-size=8M',
    '--innodb-fast-shutdown=2',
    '--performance-schema=off',
    // A server's default that is not ours, so that the schema has to say what it needs.
    '--character-set-server=latin1',
  ];
}

/** Without standing still: servers of this process go on without their database meanwhile. */
async function waitUntilUp(socket: string, server: { exitCode: number | null }, log: string): Promise<void> {
  const client = program('mariadb');
  for (let attempt = 0; ; attempt++) {
    const [code] = await once(
      spawn(client, ['--no-defaults', '-uroot', `--socket=${socket}`, '-e', 'select 1'], { stdio: 'ignore' }),
      'exit',
    );
    if (code === 0) return;
    if (server.exitCode !== null || attempt > 300) throw new Error(`MariaDB did not start: ${await readFile(log, 'utf8')}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
