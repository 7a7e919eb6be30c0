import { type ChildProcess, spawn } from 'node:child_process';
import { access, copyFile, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type MachineOptions, OVMF_VARIABLES, qemuArguments, serialLogOf, variablesOf } from './qemu/arguments.ts';
import { waitUntil } from './wait-until.ts';

export type { MachineNetwork, MachineOptions } from './qemu/arguments.ts';

/** A running virtual machine. Nothing of it is left when `kill` has returned, or when this process ends, however it ends. */
export type Machine = {
  readonly serialLog: string;
  /** What the serial console said so far, escape sequences removed. */
  serialText(): Promise<string>;
  /**
   * Waits for `pattern` in what the console said since `from` (characters; 0 without it). The time counts from the
   * moment the machine runs. Rejects with the console's last lines when time is over or the machine has ended.
   */
  waitForSerial(pattern: RegExp, timeoutMs: number, from?: number): Promise<RegExpMatchArray>;
  /** Presses the power button; the guest may ignore it. */
  pressPower(): void;
  /** Presses reset. */
  reset(): void;
  /** Cuts the power. May be called twice. */
  kill(): Promise<void>;
  readonly exited: Promise<number | null>;
};

function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: consoles speak in escape sequences
  return text.replaceAll(/\u001b\[[0-9;?]*[A-Za-z]|\u001b[A-Za-z]|\r/g, '');
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Machines of all tests on this computer take turns: emulation needs a whole core to keep its times. */
const TURN = join(tmpdir(), 'qemu.lock');

/** The kernel ends the machine when this process is killed, and with it the turn. What follows takes the place of this program, so it counts for that too. */
const DIES_WITH_US = ['setpriv', '--pdeathsig', 'KILL'];

function startProcess(options: MachineOptions): ChildProcess {
  const { network } = options;
  const inside = network.kind === 'tap' && network.netns !== undefined ? ['ip', 'netns', 'exec', network.netns] : [];
  const command = [...DIES_WITH_US, 'flock', '--no-fork', TURN, ...inside, 'qemu-system-x86_64', ...qemuArguments(options)];
  const child = spawn(command[0] ?? '', command.slice(1), { stdio: ['pipe', 'ignore', 'pipe'] });
  child.stdin?.on('error', () => undefined);
  child.stdin?.write('{"execute":"qmp_capabilities"}\n');
  return child;
}

/** Starts a machine (waits until it is its turn). The caller calls `kill`. */
export async function startMachine(options: MachineOptions): Promise<Machine> {
  const serialLog = serialLogOf(options.directory);
  await rm(serialLog, { force: true });
  const variables = variablesOf(options.directory);
  if (options.firmware === 'uefi' && !(await exists(variables))) await copyFile(OVMF_VARIABLES, variables);
  const child = startProcess(options);
  let words = '';
  let ended = false;
  child.stderr?.on('data', (data: Buffer) => {
    words = (words + data.toString('utf8')).slice(-2000);
  });
  const killNow = () => child.kill('SIGKILL');
  process.once('exit', killNow);
  const exited = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      ended = true;
      process.off('exit', killNow);
      resolve(code);
    });
  });
  const serialText = async () => plain(await readFile(serialLog, 'latin1').catch(() => ''));
  const command = (name: string) => child.stdin?.write(`{"execute":"${name}"}\n`);
  const isRunning = () => !ended;
  await waitUntil('the console is there', async () => !isRunning() || exists(serialLog), { everyMs: 50, state: () => words });
  return {
    serialLog,
    serialText,
    waitForSerial: (pattern, timeoutMs, from = 0) => waitFor({ serialText, isRunning, words: () => words }, pattern, { timeoutMs, from }),
    pressPower: () => command('system_powerdown'),
    reset: () => command('system_reset'),
    kill: async () => {
      killNow();
      await exited;
    },
    exited,
  };
}

type Console = { serialText(): Promise<string>; isRunning(): boolean; words(): string };

async function waitFor(console: Console, pattern: RegExp, limit: { timeoutMs: number; from: number }): Promise<RegExpMatchArray> {
  const look = async () => {
    const running = console.isRunning();
    const found = (await console.serialText()).slice(limit.from).match(pattern);
    if (found === null && !running)
      throw new Error(`the machine ended ${console.words()} before its console said ${pattern}${await lastLines(console)}`);
    return found ?? undefined;
  };
  return waitUntil(`${pattern} on the console`, look, { limitMs: limit.timeoutMs, everyMs: 100, state: () => lastLines(console) });
}

const lastLines = async (console: Console) => `; the console's end:\n${(await console.serialText()).slice(-1500)}`;
