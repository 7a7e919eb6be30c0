import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Wan } from '../../test/helpers/wan.ts';
import { watchTree } from './process-tree.ts';
import type { Measured } from './table.ts';

export type Figures = Omit<Measured, 'method' | 'on' | 'mbits'>;

/** Runs a command at the branch to its end and measures line, time and both ends; `hqPid` is what serves at headquarters. */
export async function measureCommand(wan: Wan, hqPid: number, command: string): Promise<Figures> {
  const scratch = await mkdtemp(join(tmpdir(), 'waystation-bench-'));
  try {
    const figures = join(scratch, 'time');
    // Bash's own time would not tell memory.
    const timed = ['time', '-f', '%U %S %M', '-o', figures, 'bash', '-eo', 'pipefail', '-c', command];
    const line = await measureLine(wan, [hqPid], async () => {
      const child = wan.branch.spawn(timed, { stdio: ['ignore', 'ignore', 'pipe'] });
      await succeeded(child, command);
    });
    const [user = 0, system = 0, kilobytes = 0] = (await readFile(figures, 'utf8')).trim().split('\n').at(-1)?.split(' ').map(Number) ?? [];
    return {
      ...line.figures,
      hqCpu: line.cpu[0] ?? 0,
      hqPeakBytes: line.peak[0] ?? 0,
      branchCpu: user + system,
      branchPeakBytes: kilobytes * 1024,
    };
  } finally {
    await rm(scratch, { recursive: true });
  }
}

/** Runs `work` between two servers that were started before, `pids` theirs: headquarters, branch. */
export async function measureServers(wan: Wan, pids: readonly [number, number], work: () => Promise<number | undefined>): Promise<Figures> {
  const { figures, cpu, peak, result } = await measureLine(wan, pids, work);
  const measured = { hqCpu: cpu[0] ?? 0, branchCpu: cpu[1] ?? 0, hqPeakBytes: peak[0] ?? 0, branchPeakBytes: peak[1] ?? 0 };
  return { ...figures, ...measured, ...(result === undefined ? {} : { seconds: result }) };
}

async function measureLine<Result>(wan: Wan, pids: readonly number[], work: () => Promise<Result>) {
  const watches = await Promise.all(pids.map(watchTree));
  const before = await wan.count();
  const started = performance.now();
  const result = await work();
  const seconds = (performance.now() - started) / 1000;
  const after = await wan.count();
  const cpu = await Promise.all(watches.map((watch) => watch.cpuSeconds()));
  for (const watch of watches) watch.stop();
  const figures = { downBytes: after.down.bytes - before.down.bytes, upBytes: after.up.bytes - before.up.bytes, seconds };
  return { figures, cpu, peak: watches.map((watch) => watch.peakBytes()), result };
}

async function succeeded(child: ChildProcess, command: string): Promise<void> {
  let words = '';
  child.stderr?.on('data', (text) => (words = (words + text).slice(-2000)));
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Error(`${command}\nended with ${status}: ${words}`);
}

/** The first line that a program prints: it is ready. */
export async function firstLine(child: ChildProcess): Promise<string> {
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  const gone = once(child, 'exit').then(([status]) => {
    throw new Error(`a server ended with ${status} before it was ready`);
  });
  const [line] = (await Promise.race([once(lines, 'line'), gone])) as [string];
  gone.catch(() => undefined);
  child.stdout?.resume();
  return line;
}
