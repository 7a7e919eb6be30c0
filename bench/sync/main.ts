import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { startWan } from '../../test/helpers/wan.ts';
import { replaceFigures } from '../figures.ts';
import { CASES, type Case, makeSyncData } from '../sync-data.ts';
import { type Figures, measureCommand, measureServers } from './measure.ts';
import { copyDirectory, directoryOf, importNext, makePair, type Place, secondsOf, serve, syncRun } from './ours.ts';
import { fileOf, layOutBranch, PEERS, startPeerServers } from './peers.ts';
import { makeBaseStore, type Prepared, preparePeers } from './prepare.ts';
import { COLD, type Level, levelsOf, levelTable, type Measured, OFFLINE, OURS, tableOf } from './table.ts';

/*
 * `make bench-sync`: replication beside its peers over the same counted line, same disks, one run. Half an hour and more.
 *
 *   ARGS="--cases inplace,kernel --rows ours,full,patch --rates 50"    a part of it
 *   ARGS=--write                                                       puts the tables into docs/benchmarks.md
 *   ARGS="--add FILE"                                                  keeps the measurements in FILE, with those of earlier runs
 */
const RTT_MS = 40;
const UNSHAPED_MBITS = 1000;
const FIGURES = { begin: '<!-- replication: made by `make bench-sync ARGS=--write` -->', end: '<!-- end of replication -->' };
const PAGE = new URL('../../docs/benchmarks.md', import.meta.url);

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: ['first', 'nothing', ...CASES].join(',') },
    rows: { type: 'string', default: ['ours', ...PEERS.map(({ key }) => key)].join(',') },
    rates: { type: 'string', default: '50,10' },
    add: { type: 'string' },
    write: { type: 'boolean' },
    json: { type: 'boolean' },
  },
});
const cases = values.cases.split(',') as Measured['on'][];
const rows = values.rows.split(',');
const rates = values.rates.split(',').map(Number);
const tell = (words: string) => console.error(words);
const { measured, extra } = values.add === undefined ? { measured: [], extra: [] } : await readEarlier(values.add);

const data = await makeSyncData({ onStage: tell });
const scratch = await mkdtemp(join(dirname(data.base), '.run-'));
const wan = await startWan({ mbits: UNSHAPED_MBITS, rttMs: RTT_MS });
try {
  const prepared = await preparePeers(data, rows, tell);
  if (rows.some((key) => key !== 'ours')) await measurePeers(prepared);
  if (rows.includes('ours')) await measureOurs();
} finally {
  await wan.close();
  await rm(scratch, { recursive: true, force: true });
}
const text = report();
console.log(values.json ? JSON.stringify({ measured, levels: [...levelsOf(measured), ...extra] }, null, 2) : text);
if (values.write) await replaceFigures(PAGE, FIGURES, text);

async function note(one: Measured): Promise<void> {
  const at = measured.findIndex(({ method, on, mbits }) => method === one.method && on === one.on && mbits === one.mbits);
  if (at >= 0) measured.splice(at, 1);
  measured.push(one);
  const { method, on, mbits, downBytes, upBytes, seconds, hqCpu, branchCpu } = one;
  tell(
    `${on} at ${mbits}: ${method}: ${downBytes} down, ${upBytes} up, ${seconds.toFixed(2)} s, CPU ${hqCpu.toFixed(1)} / ${branchCpu.toFixed(1)} s`,
  );
  await keep();
}

async function noteLevel(one: Level): Promise<void> {
  const at = extra.findIndex(({ what }) => what === one.what);
  if (at >= 0) extra.splice(at, 1);
  extra.push(one);
  await keep();
}

async function keep(): Promise<void> {
  if (values.add !== undefined) await writeFile(values.add, JSON.stringify({ measured, extra }, null, 1));
}

async function measurePeers(prepared: Prepared): Promise<void> {
  if (cases.includes('nothing')) await makeBaseStore(prepared);
  const { pids, urls } = await startPeerServers(wan, prepared.directory, scratch);
  const work = join(scratch, 'work');
  for (const mbits of rates) {
    for (const peer of PEERS.filter(({ key }) => rows.includes(key))) {
      for (const on of peer.on.filter((one) => cases.includes(one))) {
        await layOutBranch(peer, { work, directory: prepared.directory });
        const command = `cd ${work}; ${peer.command(fileOf(on), { ...urls, directory: prepared.directory })}`;
        await wan.setRate(mbits);
        await note({ method: peer.method, on, mbits, ...(await measureCommand(wan, pids[peer.server], command)) });
        await wan.setRate(UNSHAPED_MBITS);
      }
    }
  }
}

async function measureOurs(): Promise<void> {
  const fresh: Place = { wan, root: join(scratch, 'fresh') };
  tell('headquarters imports the base, the branch joins');
  await makePair(fresh, data.base);
  const based: Place = { wan, root: join(scratch, 'based') };
  await measureFirst(fresh, based);
  if (cases.includes('nothing')) for (const mbits of rates) await measureNothing(based, mbits);
  for (const on of CASES.filter((one) => cases.includes(one))) await measureUpdate(based, on);
}

/** Leaves in `based` a branch that holds the base. The first branch of all has the archive built, which counts for it alone. */
async function measureFirst(fresh: Place, based: Place): Promise<void> {
  const isAsked = cases.includes('first');
  await copyDirectory(fresh.root, based.root);
  const hq = await serve(based, 'hq');
  try {
    const [first = UNSHAPED_MBITS] = isAsked ? rates : [];
    const cold = await withBranch(based, (pid) => measureRun(based, [hq.pid, pid], first));
    if (!isAsked) return;
    await note({ method: COLD, on: 'first', mbits: first, ...cold });
    for (const mbits of rates) {
      await copyDirectory(directoryOf(fresh.root, 'branch'), directoryOf(based.root, 'branch'));
      const figures = await withBranch(based, (pid) => measureRun(based, [hq.pid, pid], mbits));
      await note({ method: OURS, on: 'first', mbits, ...figures });
    }
  } finally {
    await hq.stop();
  }
}

/** The first branch has the archive built; what is measured is a further one. */
async function measureUpdate(based: Place, on: Case): Promise<void> {
  const updated: Place = { wan, root: join(scratch, on) };
  await copyDirectory(based.root, updated.root);
  await importNext(updated, data[on]);
  const hq = await serve(updated, 'hq');
  try {
    const first = await withBranch(updated, (pid) => measureRun(updated, [hq.pid, pid], UNSHAPED_MBITS));
    tell(`${on}: the first branch cost headquarters ${first.hqCpu.toFixed(1)} s of CPU, archive and all`);
    for (const mbits of rates) {
      await copyDirectory(directoryOf(based.root, 'branch'), directoryOf(updated.root, 'branch'));
      const figures = await withBranch(updated, (pid) => measureRun(updated, [hq.pid, pid], mbits));
      await note({ method: OURS, on, mbits, ...figures });
      if (mbits === rates[0])
        await noteLevel({
          what: `${on}: HQ CPU of a further branch ÷ first`,
          figure: figures.hqCpu / first.hqCpu,
          wanted: 0.03,
          sense: 'most',
        });
    }
  } finally {
    await hq.stop();
  }
  await rm(updated.root, { recursive: true });
}

async function measureNothing(based: Place, mbits: number): Promise<void> {
  const hq = await serve(based, 'hq');
  try {
    await withBranch(based, async (pid) => {
      // The first one opens the connection that is kept.
      await syncRun(based);
      const { bytesReceived, bytesSent } = await syncRun(based);
      const figures = await measureRun(based, [hq.pid, pid], mbits);
      // The run's own octets (TLS and all): the line also carries the control connection, which never sleeps.
      await note({ method: OURS, on: 'nothing', mbits, ...figures, downBytes: bytesReceived, upBytes: bytesSent });
    });
    await wan.setRate(mbits);
    // No server at the branch: memory and processor time there are those of the command, which nobody watches.
    const cold = await measureServers(wan, [hq.pid, hq.pid], async () => secondsOf(await syncRun(based)));
    await wan.setRate(UNSHAPED_MBITS);
    await note({ method: OFFLINE, on: 'nothing', mbits, ...cold, branchCpu: 0, branchPeakBytes: 0 });
  } finally {
    await hq.stop();
  }
}

/** Time is that of the run itself, from its entry in the queue to its end: the command that asked for it is a program of its own. */
async function measureRun(place: Place, pids: readonly [number, number], mbits: number): Promise<Figures> {
  await wan.setRate(mbits);
  try {
    return await measureServers(wan, pids, async () => secondsOf(await syncRun(place)));
  } finally {
    await wan.setRate(UNSHAPED_MBITS);
  }
}

async function withBranch<Result>(place: Place, work: (pid: number) => Promise<Result>): Promise<Result> {
  const branch = await serve(place, 'branch');
  try {
    return await work(branch.pid);
  } finally {
    await branch.stop();
  }
}

function report(): string {
  const titles: Readonly<Record<Measured['on'], string>> = {
    inplace: 'Packages updated in place',
    rebuilt: 'The same tree in a fresh file system',
    kernel: 'Another kernel',
    first: 'First replication',
    nothing: 'Nothing new',
  };
  const tables = (Object.keys(titles) as Measured['on'][])
    .filter((on) => measured.some((one) => one.on === on))
    .map((on) => `**${titles[on]}**\n\n${tableOf(measured, on)}`);
  const day = `${new Date().toISOString().slice(0, 10)}, ${cpus().length} shared cores, ${RTT_MS} ms RTT; octets are those of IP packets, both ways counted.`;
  return [...tables, levelTable([...levelsOf(measured), ...extra]), day].join('\n\n');
}

async function readEarlier(path: string): Promise<{ measured: Measured[]; extra: Level[] }> {
  const text = await readFile(path, 'utf8').catch(() => '{}');
  return { measured: [], extra: [], ...(JSON.parse(text) as { measured?: Measured[]; extra?: Level[] }) };
}
