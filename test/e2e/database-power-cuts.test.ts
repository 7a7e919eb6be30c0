import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectLocal } from '../../cli/client.ts';
import { eventually } from '../helpers/control-sites.ts';
import { howMany } from '../helpers/how-many.ts';
import { NumberedSteps } from '../helpers/numbered-steps.ts';
import { checkDisk, checkTables } from '../helpers/power/database-check.ts';
import { type DatabaseGuest, makeDatabaseGuest } from '../helpers/power/database-guest.ts';
import { type SharedLoad, startSharedLoad } from '../helpers/power/shared-load.ts';
import { assertAllTold } from '../helpers/power/shared-whole.ts';
import { importDisk, makeDisk } from '../helpers/replication-sites.ts';
import { randomFrom } from '../helpers/seeded.ts';
import { type SharedNode, sharedSetting, startSharedNode } from '../helpers/shared-sites.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

/**
 * Two servers meet in a database whose machine loses its power, again and again: memory and the disk's write cache are
 * gone. SEED sets where the cuts fall.
 *
 * FLUSH_LOG=0 is a database that acknowledges before its disk does. Servers tell again what such a one loses; the numbered
 * steps, which nobody tells again, are then missing, and the test fails.
 */
const CUTS = howMany({ sample: 1, full: 20 });
const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const FLUSH_LOG = Number(process.env['FLUSH_LOG'] ?? 1);
const BACK_MS = 5_000;
/** So many are acknowledged in each round before the rest begins. */
const STEPS_FIRST = 20;
/** The longest that the power stays after that, or after a start has begun. */
const SPREAD_MS = 4_000;
/** One cut of so many falls into a start of the database, before or soon after it takes connections. */
const STARTS_EVERY = 4;
const PAUSE_MS = { step: 20, api: 500 };

const root = await temporaryDirectory('database-power');
const random = randomFrom(SEED);
const totals = { lostSectors: 0, backs: [] as number[] };

type Scene = {
  readonly database: DatabaseGuest;
  readonly nodes: readonly [SharedNode, SharedNode];
  readonly steps: NumberedSteps;
  readonly load: SharedLoad;
};

test(`${CUTS} power cuts of the shared database's machine lose nothing that was acknowledged (seed ${SEED})`, {
  timeout: 300_000 + CUTS * 600_000,
}, async (t) => {
  const database = await makeDatabaseGuest(root, 'meeting', [`--innodb-flush-log-at-trx-commit=${FLUSH_LOG}`]);
  after(() => database.close());
  try {
    await runAll(t, database);
  } catch (error) {
    t.diagnostic(`the end of its console: ${(await database.errorLog()).slice(-3000)}`);
    throw error;
  }
});

async function runAll(t: TestContext, database: DatabaseGuest): Promise<void> {
  await database.powerOn();
  await database.isReady();
  const setting = await sharedSetting(root, database, 'meeting');
  const nodes = [await startSharedNode(root, 'hq', setting), await startSharedNode(root, 'branch', setting)] as const;
  await makeDisk(join(root, 'disk.raw'), 100_000);
  await importDisk(nodes[0].site, join(root, 'disk.raw'));
  await eventually('both know the image', async () => (await nodes[1].site.db('images').where({ name: 'debian' }).first()) !== undefined);
  const steps = new NumberedSteps(database, 'meeting');
  const load = await startSharedLoad(nodes, { image: 'debian@1', steps, pauseMs: PAUSE_MS });
  try {
    await cutAgainAndAgain(t, { database, nodes, steps, load });
  } finally {
    await load.stop();
  }
  await steps.compare();
  await assertAllTold(nodes, load.ledger, 'meeting', database.ask);
  const { flushes, flushedSectors } = database.guest.disk.figures;
  const { targets, orders } = load.ledger;
  t.diagnostic(
    `${CUTS} cuts, seed ${SEED}: ${steps.acknowledged} steps, ${targets.length} targets and ${orders.length} orders for machines of the other server ` +
      `acknowledged (${steps.refused} steps refused), 0 lost, 0 doubled; back at work ${totals.backs.join(', ')} ms after the database; ` +
      `disk: ${flushes} flushes, ${flushedSectors} sectors of 4096 octets flushed, ${totals.lostSectors} lost with the power`,
  );
  const late = totals.backs.filter((back) => back > BACK_MS);
  assert.deepEqual(late, [], `milliseconds after the database that are more than ${BACK_MS}`);
}

async function cutAgainAndAgain(t: TestContext, scene: Scene): Promise<void> {
  const { database, steps, load } = scene;
  for (let cut = 1; cut <= CUTS; cut += 1) {
    const isStart = cut % STARTS_EVERY === 0;
    if (cut > 1) await database.powerOn();
    if (cut > 1 && !isStart) t.diagnostic(await beBackAtWork(scene));
    if (!isStart) await workAWhile(scene);
    await sleep(random() * SPREAD_MS);
    // Most of what was not flushed is lost, and sometimes all of it.
    const share = Math.max(0, random() - 0.4);
    const lostSectors = await database.guest.cut(() => random() < share);
    steps.kills = cut;
    totals.lostSectors += lostSectors;
    const { targets, orders } = load.ledger;
    t.diagnostic(
      `cut ${cut}, seed ${SEED}: ${isStart ? 'while the database starts' : 'under load'}; ${lostSectors} sectors of the write cache lost; ` +
        `${steps.acknowledged + targets.length + orders.length} acknowledged so far`,
    );
    await checkDisk(database, join(root, 'copy.raw'));
  }
  await database.powerOn();
  t.diagnostic(await beBackAtWork(scene));
}

async function workAWhile({ steps, load }: Scene): Promise<void> {
  const before = steps.acknowledged;
  await eventually('steps are acknowledged', async () => {
    load.assertWell();
    return steps.acknowledged >= before + STEPS_FIRST;
  });
}

/**
 * From the database's first answer on: both servers acknowledge what they are asked by their API, say that they have the
 * database, and write into it. Then what it holds is compared with what was acknowledged. Gives what is to be told of it.
 */
async function beBackAtWork(scene: Scene): Promise<string> {
  await scene.database.isReady();
  const from = performance.now();
  await Promise.all(scene.nodes.map((node) => isAtWork(node, scene)));
  const back = Math.round(performance.now() - from);
  totals.backs.push(back);
  await scene.steps.compare();
  assert.deepEqual(await checkTables(scene.database), []);
  return `back at work ${back} ms after the database: nothing lost, nothing doubled, its tables are whole`;
}

async function isAtWork({ site }: SharedNode, { steps, load }: Scene): Promise<void> {
  const targets = () => load.ledger.targets.filter(({ at }) => at === site.self.id).length;
  const [stepsBefore, targetsBefore] = [steps.acknowledgedBy(site), targets()];
  const client = await connectLocal(site.dataDir);
  await eventually(`${site.self.name} is at work`, async () => {
    load.assertWell();
    return steps.acknowledgedBy(site) > stepsBefore && targets() > targetsBefore;
  });
  await eventually(`${site.self.name} says so`, async () => (await client.get<{ state: string }>('/api/v1/shared')).state === 'connected');
}
