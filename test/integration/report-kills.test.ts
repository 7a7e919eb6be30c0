import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import { type Name, parseMac } from '../../core/ids.ts';
import { regroupTarget } from '../../server/control/place.ts';
import { showTarget } from '../../server/control/things-below.ts';
import { appendEvent } from '../../server/db/events.ts';
import { inTransaction } from '../../server/db/open.ts';
import { addTarget } from '../../server/targets.ts';
import { eventually, makeNode } from '../helpers/control-sites.ts';
import { howMany } from '../helpers/how-many.ts';
import { type ServeProcess, startServeProcess } from '../helpers/serve-process.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

/** Two real servers of which one is killed with SIGKILL, again and again, while reports go up and commands down. */
const KILLS = howMany({ sample: 4, full: 100 });
const EVENTS = 300 * KILLS;
const COMMANDS = 40 * KILLS;
const root = await temporaryDirectory('report-kills');
const dirs = { hq: join(root, 'hq'), branch: join(root, 'branch') } as const;
const running: { hq?: ServeProcess; branch?: ServeProcess } = {};
after(async () => {
  await running.branch?.kill();
  await running.hq?.kill();
});

test(`${KILLS} kills of either side while reports and commands are on their way lose none and double none`, {
  timeout: 60_000 + KILLS * 20_000,
}, async (t) => {
  const { origin, port } = await setUp();
  const environment = (side: 'hq' | 'branch') => ({
    ...{ WAYSTATION_HTTP_PORT: '0', WAYSTATION_TFTP_PORT: '0', WAYSTATION_HTTPS_PORT: side === 'hq' ? port : '0' },
  });
  const start = async () => {
    for (const side of ['hq', 'branch'] as const) running[side] ??= await startServeProcess(dirs[side], environment(side));
  };
  const progress = () => ({
    events: count(dirs.hq, 'select count(*) as n from events where origin = ?', origin),
    commands: count(dirs.branch, "select count(*) as n from events where kind = 'target.grouped'"),
  });
  const total = count(dirs.branch, 'select count(*) as n from events where origin = ?', origin) + COMMANDS;
  let inTheMiddle = 0;
  const isInTheMiddle = ({ events, commands }: ReturnType<typeof progress>) => events < total || commands < COMMANDS;
  for (let kill = 1; kill <= KILLS; kill += 1) {
    const side = kill % 2 === 0 ? 'hq' : 'branch';
    const before = progress();
    await start();
    // Two kills while commands go down, two while events go up, and again.
    const way = kill % 4 === 1 || kill % 4 === 2 ? 'commands' : 'events';
    await eventually('something moved', async () => {
      const now = progress();
      return now[way] > before[way] || now[way] === (way === 'events' ? total : COMMANDS);
    });
    await running[side]?.kill();
    delete running[side];
    const now = progress();
    if (isInTheMiddle(now)) inTheMiddle += 1;
    t.diagnostic(`kill ${kill}: ${side} with ${now.events} of ${total} events up and ${now.commands} of ${COMMANDS} commands down`);
  }
  assert.ok(inTheMiddle > 0, 'no kill fell in the middle');
  await start();
  await eventually('all is through', async () => {
    const { events, commands } = progress();
    return events >= total && commands >= COMMANDS;
  });
  await running.branch?.stop();
  await running.hq?.stop();
  const events = (dir: string) => rows(dir, 'select seq, at, actor, kind, subject, data from events where origin = ? order by seq', origin);
  // Between the last look and the stop the branch may have said something more: what is there must be what was said, without a gap.
  const [sent, received] = [events(dirs.branch), events(dirs.hq)];
  assert.ok(received.length >= total);
  assert.deepEqual(received, sent.slice(0, received.length));
  const groups = rows(dirs.branch, "select data from events where kind = 'target.grouped' order by seq").map(
    ({ data }) => JSON.parse(String(data)).group,
  );
  assert.deepEqual(
    groups,
    Array.from({ length: COMMANDS }, (_, n) => `group-${n}`),
  );
});

/** A branch with events to tell, and a headquarters with commands for it; neither is running. */
async function setUp(): Promise<{ origin: string; port: string }> {
  const hq = await makeNode(root, 'hq');
  const branch = await makeNode(root, 'branch', hq);
  await addTarget(branch.site, { name: 'till' as Name, macs: [parseMac('525400000001')] }, 'test');
  await eventually('the target is known', () => showTarget(hq.site, 'till').catch(() => undefined));
  const port = new URL(hq.serving?.httpsUrl ?? '').port;
  await hq.stop();
  await branch.stop();
  for (let n = 0; n < COMMANDS; n += 1) await regroupTarget(hq.site, 'till', `group-${n}` as Name, 'test');
  await inTransaction(branch.site.db, async (trx) => {
    const event = { origin: branch.site.self.id, at: 1, actor: 'test', kind: 'test.happened', subject: 's' };
    for (let n = 0; n < EVENTS; n += 1) await appendEvent(trx, { ...event, data: { n } });
  });
  const origin = branch.site.self.id;
  await branch.close();
  await hq.close();
  return { origin, port };
}

function rows(dir: string, sql: string, ...parameters: string[]): Record<string, unknown>[] {
  const db = new DatabaseSync(join(dir, 'db.sqlite'), { readOnly: true });
  try {
    return db
      .prepare(sql)
      .all(...parameters)
      .map((row) => ({ ...row }));
  } finally {
    db.close();
  }
}

function count(dir: string, sql: string, ...parameters: string[]): number {
  return Number(rows(dir, sql, ...parameters)[0]?.['n'] ?? 0);
}
