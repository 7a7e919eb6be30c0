import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Toolbox } from '../../../server/engine/debian/toolbox.ts';
import { cacheDirectory } from '../cache.ts';
import { freePort } from '../free-port.ts';
import { program } from '../mariadb-programs.ts';
import type { Machine } from '../qemu.ts';
import { waitUntil } from '../wait-until.ts';
import { makeDiskFrom, openDiskTools } from './disk.ts';
import { type Guest, makeGuest } from './guest.ts';
import { buildGuestKernel } from './kernel.ts';
import { MARIADB_PORT, mariadbProgram } from './mariadb-program.ts';
import { buildProgramDisk } from './program.ts';

const run = promisify(execFile);

/** Emulated, on a machine that does other things too. */
const BOOT_MS = 300_000;
const DATA_MIB = 512;
const SMALL = ['--innodb-buffer-pool-size=64M', '--innodb-log-file-size=8M', '--performance-schema=off'];
/** Pages are written all the time and not once in a while, so that the power goes in the middle of that too. */
const BUSY = ['--innodb-max-dirty-pages-pct=0'];
const COMPLAINT = /EXT4-fs (error|warning)|JBD2:.*(error|corrupt)|I\/O error|\[ERROR\]/i;

/** A MariaDB in a machine whose power can be cut. It is off at first. */
export type DatabaseGuest = {
  readonly guest: Guest;
  readonly dataDisk: string;
  readonly toolbox: Toolbox;
  /** Where it is reached from this host, and by whom. */
  readonly port: number;
  readonly password: string;
  /** Starts the machine on what its disk holds; resolves when the kernel has mounted it. */
  powerOn(): Promise<void>;
  /** Resolves when the server has answered a query for the first time. Rejects when it or the file system complains. */
  isReady(): Promise<void>;
  /** What a query gives, columns between tabs; may read and write everything. */
  ask(query: string): Promise<string>;
  /** What it wrote since the last start. */
  errorLog(): Promise<string>;
  close(): Promise<void>;
};

/** `name` is a database for the account `waystation`. `args` go to the server. */
export async function makeDatabaseGuest(root: string, name: string, args: readonly string[]): Promise<DatabaseGuest> {
  const cacheDir = cacheDirectory();
  const toolbox = await openDiskTools(cacheDir);
  const password = 'only-for-tests';
  const dataDisk = join(root, 'data.raw');
  await makeDiskFrom(toolbox, { from: await installDatabase(root, name, password), out: dataDisk, sizeMib: DATA_MIB });
  const port = await freePort();
  const guest = await makeGuest({
    directory: join(root, 'guest'),
    kernel: await buildGuestKernel(cacheDir),
    program: await buildProgramDisk(cacheDir, await mariadbProgram([...SMALL, ...BUSY, ...args])),
    dataDisk,
    readOnly: [],
    forward: [{ hostPort: port, guestPort: MARIADB_PORT }],
    memoryMb: 512,
  });
  let machine: Machine | undefined;
  const isSaid = async (pattern: RegExp) => {
    if (machine === undefined) throw new Error('the machine of the database is off');
    await machine.waitForSerial(pattern, BOOT_MS);
    const text = await machine.serialText();
    if (COMPLAINT.test(text)) throw new Error(`the machine of the database complains:\n${text}`);
  };
  const client = ['--no-defaults', '--host=127.0.0.1', `--port=${port}`, '--user=keeper', `--password=${password}`, '--skip-ssl', '-N'];
  // This process serves the disk: it must not stand still while it asks.
  const ask = async (query: string, ...more: string[]) =>
    (await run(program('mariadb'), [...client, ...more, '-e', query], { maxBuffer: 2 ** 28 })).stdout;
  return {
    ...{ guest, dataDisk, toolbox, port, password },
    powerOn: async () => {
      machine = await guest.boot();
      await isSaid(/guest: the program starts/);
    },
    isReady: async () => {
      await isSaid(/ready for connections/);
      await waitUntil('the database answers', () => ask('select 1', '--connect-timeout=1'), {
        limitMs: 60_000,
        everyMs: 50,
        despiteErrors: true,
      });
    },
    ask: (query) => ask(query),
    errorLog: () => guest.consoleText(),
    close: () => guest.close(),
  };
}

/** The content of the disk: a new data directory with the accounts. */
async function installDatabase(root: string, name: string, password: string): Promise<string> {
  const from = join(root, 'install');
  await mkdir(from, { recursive: true });
  const accounts = join(root, 'accounts.sql');
  await writeFile(
    accounts,
    [
      'flush privileges;',
      `create database \`${name}\`;`,
      `create user waystation@'%' identified by '${password}';`,
      `grant all on \`${name}\`.* to waystation@'%';`,
      `create user keeper@'%' identified by '${password}';`,
      "grant all on *.* to keeper@'%';\n",
    ].join('\n'),
  );
  const asUser = userInfo().uid === 0 ? ['--user=root'] : [];
  const places = [`--datadir=${join(from, 'mariadb')}`, `--tmpdir=${root}`, `--extra-file=${accounts}`];
  await run(program('mariadb-install-db'), ['--no-defaults', ...asUser, ...places, '--skip-test-db', ...SMALL]);
  await rm(accounts);
  return from;
}
