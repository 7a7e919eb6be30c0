import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Id } from '../core/ids.ts';
import { listSharedServers } from '../server/db/shared/servers.ts';
import { type Mariadb, startMariadb } from '../test/helpers/mariadb.ts';
import { replaceFigures } from './figures.ts';
import { benchAnswers, benchOrders, benchThroughput } from './store/answers.ts';
import { benchCatalogue } from './store/catalogue.ts';
import { LOOPS, type Load, playServers } from './store/idle-servers.ts';
import { catalogueTable, loadTable, rowsTable } from './store/table.ts';
import { openMeeting, type Pair, runPair } from './store/worlds.ts';

/*
 * `make bench-store`: what servers and their shared database bear. A large site (10,000 machines, 100,000 orders, 500 other servers of which
 * each told 20 machines and 200 orders) beside a small one (100, 1,000, 5) in one run, standing alone and meeting the others in a MariaDB;
 * what 500 servers without news cost that database; what it costs to hear of a catalogue.
 *
 *   node bench/store.ts [--quick] [--write] [--only answers,servers,catalogue] [--objects 100000] [--changes 1000] [--origins 10]
 */
const FIGURES = { begin: '<!-- store: made by `make bench-store ARGS=--write` -->', end: '<!-- end of store -->' };

const PAGE = new URL('../docs/benchmarks.md', import.meta.url);

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    only: { type: 'string', default: 'answers,servers,catalogue' },
    objects: { type: 'string', default: '100000' },
    changes: { type: 'string', default: '1000' },
    origins: { type: 'string', default: '10' },
  },
});
const wanted = values.only.split(',');
const isQuick = values.quick;
const CROWD = { workers: 20, each: 4, rounds: isQuick ? 3 : 15 };
const PLAYED_SECONDS = isQuick ? 12 : 40;

const root = await mkdtemp(join(tmpdir(), 'waystation-bench-store-'));
let mariadb: Mariadb | undefined;
const parts: string[] = [];
const say = (part: string) => {
  parts.push(part);
  process.stdout.write(`${part}\n\n`);
};
try {
  if (wanted.includes('answers'))
    await answers('**Standing alone** (SQLite; the other servers are its children)', await runPair(root, { isQuick }));
  if (wanted.includes('answers') || wanted.includes('servers')) {
    mariadb = await startMariadb(['--innodb-buffer-pool-size=256M', '--innodb-flush-log-at-trx-commit=1', '--innodb-log-file-size=128M']);
    const pair = await runPair(root, { mariadb, isQuick });
    if (wanted.includes('answers')) await answers('**Meeting the others in a MariaDB** that has all that is told', pair);
    else await pair.stop();
    if (wanted.includes('servers')) await servers(mariadb);
  }
  if (wanted.includes('catalogue')) {
    const numbers = { objects: Number(values.objects), changes: Number(values.changes), origins: Number(values.origins) };
    say(`**Hearing of a catalogue**\n\n${catalogueTable(await benchCatalogue(numbers))}`);
  }
} finally {
  await mariadb?.stop();
  await rm(root, { recursive: true, force: true });
}
say(`${new Date().toISOString().slice(0, 10)}, ${cpus().length} shared cores${isQuick ? ', --quick: a tenth of the large site' : ''}.`);
if (values.write) await replaceFigures(PAGE, FIGURES, [...(await withOthers(parts.slice(0, -1))), parts.at(-1)].join('\n\n'));

/** What `--only` left out stays as it is in the page. */
async function withOthers(made: readonly string[]): Promise<string[]> {
  const [, before = ''] = (await readFile(PAGE, 'utf8')).split(FIGURES.begin);
  const there =
    before
      .split(FIGURES.end)[0]
      ?.trim()
      .split(/\n\n(?=\*\*)/) ?? [];
  const titleOf = (part: string) => part.split('**')[1];
  // The last one has the line with the date behind it.
  const kept = there.map((part) => part.replace(/\n\n\d{4}-\d\d-\d\d, .*$/s, ''));
  const found = kept.map((part) => made.find((one) => titleOf(one) === titleOf(part)) ?? part);
  return [...found, ...made.filter((one) => !found.includes(one))];
}

async function answers(title: string, pair: Pair): Promise<void> {
  try {
    const rows = [...(await benchAnswers(pair, isQuick ? 60 : 300)), ...(await benchOrders(pair, isQuick ? 30 : 150))];
    const { small, large } = await benchThroughput(pair, CROWD);
    const claims = `Claims of ${CROWD.workers} agents at once: ${small.toFixed(0)} a second on the small site, ${large.toFixed(0)} on the large one (median of ${CROWD.rounds} rounds in turns).`;
    say(`${title}\n\n${rowsTable(rows)}\n\n${claims}`);
  } finally {
    await pair.stop();
  }
}

async function servers(where: Mariadb): Promise<void> {
  const lines = await Promise.all(Array.from({ length: 10 }, () => openMeeting(where, 'large_meeting')));
  try {
    const ids: Id[] = (await lines[0]?.read('bench', listSharedServers))?.map(({ id }) => id) ?? [];
    const loads: [string, Load][] = [];
    for (const [what, loops] of Object.entries(LOOPS)) {
      loads.push([what, await playServers({ mariadb: where, lines, ids: ids.slice(0, 500) }, loops, PLAYED_SECONDS)]);
    }
    say(`**What a database bears**\n\n${loadTable(loads)}`);
  } finally {
    for (const line of lines) await line.close();
  }
}
