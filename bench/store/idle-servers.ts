import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Id } from '../../core/ids.ts';
import { listSentTo } from '../../server/db/shared/commands.ts';
import { beat, listSharedTree, readSharedState, registryNumber } from '../../server/db/shared/servers.ts';
import { listMoved } from '../../server/db/shared/streams.ts';
import { takeLease } from '../../server/shared/leases.ts';
import type { Shared } from '../../server/shared/open.ts';
import type { Mariadb } from '../../test/helpers/mariadb.ts';
import { type Spread, spreadOf } from './samples.ts';

/** What a database bears of many servers that have nothing to tell, by what each of them asks: server/shared/. */
export type Load = {
  readonly servers: number;
  readonly statementsPerSecond: number;
  readonly rowsPerSecond: number;
  /** Share of one core. */
  readonly cpu: number;
  readonly heartbeat: Spread;
};

type Loops = readonly (readonly [everyMs: number, work: (shared: Shared, id: Id) => Promise<unknown>])[];

const BEAT = (shared: Shared, id: Id) =>
  shared.write(
    'heartbeat',
    async (trx) => {
      // As whoever writes does: a server whose place was taken writes nothing.
      await readSharedState(trx, id);
      await beat(trx, id);
    },
    'repeat',
  );
const LEASE = (shared: Shared, id: Id) => takeLease(shared, { name: 'chores', holder: id });

/** Every 30 s everything is looked at: a cluster may lose its end without a word. */
const WHOLE = async (shared: Shared) => {
  await shared.read('registry', listSharedTree);
  for (let mark = 0; ; ) {
    const moved = await shared.read('news', (db) => listMoved(db, mark, 500));
    if (moved.length < 500) return;
    mark = moved.at(-1)?.mark ?? 0;
  }
};

/** The loops of server/shared/exchange.ts, heartbeat.ts and leases.ts, with nothing new; the first is the heartbeat. */
export const LOOPS: { readonly [what: string]: Loops } = {
  heartbeats: [[10_000, BEAT]],
  'all that they ask': [
    [10_000, BEAT],
    [1_000, (shared, id) => shared.read('commands', (db) => listSentTo(db, id, 100))],
    [1_000, (shared) => shared.read('news', (db) => listMoved(db, Number.MAX_SAFE_INTEGER, 500))],
    [2_000, (shared) => shared.read('registry', registryNumber)],
    [7_000, LEASE],
    [30_000, WHOLE],
  ],
  'the registry read whole each time': [[2_000, (shared) => shared.read('registry', listSharedTree)]],
};

/** Plays so many servers for `seconds`, over few connections: what is asked is what the database works for. */
export async function playServers(
  { mariadb, lines, ids }: { readonly mariadb: Mariadb; readonly lines: readonly Shared[]; readonly ids: readonly Id[] },
  loops: Loops,
  seconds: number,
): Promise<Load> {
  const stopping = new AbortController();
  const beats: number[] = [];
  // Asking costs rows as well.
  const asking = countersOf(mariadb);
  const before = countersOf(mariadb);
  const started = performance.now();
  const running = ids.flatMap((id, n) => {
    const shared = lines[n % lines.length] as Shared;
    return loops.map(async ([everyMs, work], kind) => {
      await pause(Math.random() * everyMs, stopping.signal);
      while (!stopping.signal.aborted) {
        const asked = performance.now();
        await work(shared, id);
        if (kind === 0) beats.push(performance.now() - asked);
        await pause(everyMs - (performance.now() - asked), stopping.signal);
      }
    });
  });
  await sleep(seconds * 1000);
  const [after, took] = [countersOf(mariadb), (performance.now() - started) / 1000];
  stopping.abort();
  await Promise.all(running);
  const rate = (key: keyof Counters) => (after[key] - before[key] - (before[key] - asking[key])) / took;
  return {
    servers: ids.length,
    statementsPerSecond: rate('statements'),
    rowsPerSecond: rate('rows'),
    cpu: rate('cpu'),
    heartbeat: spreadOf(beats),
  };
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(Math.max(0, ms), undefined, { signal }).catch(() => undefined);
}

type Counters = { readonly statements: number; readonly rows: number; readonly cpu: number };

/** `rows`: read by key or one after the other, as the storage engine counts them. `cpu` in seconds. */
export function countersOf(mariadb: Mariadb): Counters {
  const status = new Map(
    mariadb
      .ask('show global status')
      .split('\n')
      .map((line) => line.split('\t') as [string, string]),
  );
  const sum = (...names: string[]) => names.reduce((total, name) => total + Number(status.get(name) ?? 0), 0);
  const rows = sum(
    'Handler_read_key',
    'Handler_read_next',
    'Handler_read_prev',
    'Handler_read_rnd',
    'Handler_read_rnd_next',
    'Handler_read_first',
  );
  const pid = readFileSync(mariadb.ask('select @@pid_file').trim(), 'utf8').trim();
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return { statements: sum('Questions'), rows, cpu: (Number(fields[11]) + Number(fields[12])) / 100 };
}
