import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { makeSparseDisk, makeSuccessor } from './memory/disk.ts';
import { makeSides, type Served, serve, waystation } from './memory/sides.ts';
import { type MemoryWatch, type Peaks, watchMemory } from './memory/watch.ts';

/*
 * `make bench-memory`: what headquarters and a branch take of memory at most, phase by phase, with a sparse disk of 20 GiB of
 * which 2.5 GB are used, and a successor with about 1 % changed. Needs root, some 15 GB of disk, ten minutes.
 *
 *   ARGS="--gib 20 --used 2.5 --disks DIRECTORY"     DIRECTORY keeps the two disks for the next time
 */
const { values } = parseArgs({
  options: {
    gib: { type: 'string', default: '20' },
    used: { type: 'string', default: '2.5' },
    disks: { type: 'string' },
    json: { type: 'boolean' },
  },
});
const wish = { sizeBytes: Number(values.gib) * 1024 ** 3, usedBytes: Number(values.used) * 1e9 };
const IDLE_MS = 3000;
const IMAGE = 'disk';

type Row = { readonly phase: string; readonly seconds: number; readonly hq: Peaks; readonly branch: Peaks };

const scratch = await mkdtemp(join(tmpdir(), 'waystation-memory-'));
const running: Served[] = [];
const watches: MemoryWatch[] = [];
const rows: Row[] = [];
try {
  const disks = await haveDisks(values.disks ?? scratch);
  const root = join(scratch, 'sites');
  const hq = await start(await makeSides(root));
  const branch = await start(await serve(root, 'branch'));
  const phase = async (name: string, work: () => Promise<unknown>) => {
    for (const watch of [hq, branch]) watch.restart();
    const started = performance.now();
    await work();
    rows.push({ phase: name, seconds: (performance.now() - started) / 1000, hq: hq.peaks(), branch: branch.peaks() });
    console.error(lineOf(rows.at(-1) as Row));
  };
  const importDisk = (path: string) => waystation(root, 'hq', ['image', 'import', path, '--name', IMAGE]);
  const replicate = async () => {
    const { state, error } = await waystation<{ state: string; error: unknown }>(root, 'branch', ['sync', 'run', '--wait']);
    if (state !== 'done') throw new Error(`the run ended ${state}: ${JSON.stringify(error)}`);
  };
  await phase('nothing to do', () => sleep(IDLE_MS));
  await phase('import', () => importDisk(disks.base));
  await phase('first replication', replicate);
  await phase('import of the successor', () => importDisk(disks.next));
  await phase('update', replicate);
  await phase('nothing to do, afterwards', () => sleep(IDLE_MS));
  console.log(values.json ? JSON.stringify(rows.map(plain), null, 1) : table());
} finally {
  for (const watch of watches) watch.stop();
  for (const one of running) await one.stop();
  await rm(scratch, { recursive: true, force: true });
}

async function haveDisks(directory: string): Promise<{ readonly base: string; readonly next: string }> {
  const [base, next] = [join(directory, 'base.raw'), join(directory, 'next.raw')];
  const isThere = await access(next).then(
    () => true,
    () => false,
  );
  if (isThere) return { base, next };
  await makeSparseDisk(base, scratch, wish);
  await makeSuccessor(base, next, scratch, wish);
  return { base, next };
}

async function start(served: Served): Promise<MemoryWatch> {
  running.push(served);
  const watch = watchMemory(served.pid);
  watches.push(watch);
  return watch;
}

function plain({ phase, seconds, hq, branch }: Row) {
  const side = ({ together, programs }: Peaks) => ({ together, ...Object.fromEntries(programs) });
  return { phase, seconds, hq: side(hq), branch: side(branch) };
}

function table(): string {
  return ['| phase | s | HQ, MB | of it | branch, MB | of it |', '|---|--:|--:|---|--:|---|', ...rows.map(lineOf)].join('\n');
}

function lineOf({ phase, seconds, hq, branch }: Row): string {
  const mb = (bytes: number) => Math.round(bytes / 1e6);
  const programs = (peaks: Peaks) => [...peaks.programs].map(([name, bytes]) => `${name} ${mb(bytes)}`).join(', ');
  return `| ${phase} | ${seconds.toFixed(0)} | ${mb(hq.together)} | ${programs(hq)} | ${mb(branch.together)} | ${programs(branch)} |`;
}
