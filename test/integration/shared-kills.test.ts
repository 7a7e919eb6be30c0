import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { findServerBelow } from '../../server/control/servers-below.ts';
import { setParent } from '../../server/shared/parents.ts';
import { eventually, makeNode, type Node, replicate } from '../helpers/control-sites.ts';
import { howMany } from '../helpers/how-many.ts';
import { startMeeting } from '../helpers/meeting.ts';
import type { Imported } from '../helpers/meeting-ledger.ts';
import { MeetingWork, type Moment } from '../helpers/meeting-work.ts';
import { NumberedSteps } from '../helpers/numbered-steps.ts';
import { fillHeadquarters } from '../helpers/play-machine.ts';
import { randomFrom } from '../helpers/seeded.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

/** How often the database is killed. SEED sets the pauses. */
const KILLS = howMany({ sample: 2, full: 100 });
const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
/** After the database, in which the API of every server has answered and written there. */
const BACK_MS = 5_000;
/** What each kill waits for, in turn, so that it falls into its middle. */
const MOMENTS: readonly Moment[] = ['run', 'deployment', 'import', 'order'];
const random = randomFrom(SEED);
const root = await temporaryDirectory('shared-kills');

test(`${KILLS} kills of the shared database during orders and replication lose nothing and double nothing (seed ${SEED})`, async (t) => {
  const { mariadb, database } = await startMeeting(root);
  const nodes: Node[] = [];
  let work: MeetingWork | undefined;
  after(async () => {
    await work?.stop();
    for (const node of nodes) await node.close();
    await mariadb.stop();
  });
  for (const name of ['hq', 'branch', 'office']) nodes.push(await makeNode(root, name, undefined, { flags: { database } }));
  const [hq, branch, office] = nodes as [Node, Node, Node];
  const first = await meet({ hq, branch, office });
  const steps = new NumberedSteps(mariadb, 'meet');
  work = new MeetingWork({ hq, branch, office }, root, { steps, first });
  const backs: number[] = [];
  const hit = new Map<Moment, number>(MOMENTS.map((moment) => [moment, 0]));
  for (let kill = 1; kill <= KILLS; kill++) {
    const moment = MOMENTS[(kill - 1) % MOMENTS.length] as Moment;
    work.wantVersion();
    await eventually(`${moment} under way`, async () => work?.isUnderWay(moment));
    await sleep(random() * 300);
    for (const what of work.underWay()) hit.set(what, (hit.get(what) ?? 0) + 1);
    await mariadb.kill();
    steps.kills = kill;
    await sleep(random() * 1500);
    await mariadb.start();
    const from = performance.now();
    await work.isBack();
    const back = Math.round(performance.now() - from);
    backs.push(back);
    assert.ok(back <= BACK_MS, `kill ${kill}: back after ${back} ms`);
    await steps.look();
  }
  await work.finish();
  await steps.compare();
  const { ledger, slowestMs } = work;
  await ledger.compare({ hq, branch, office }, mariadb, 'meet');
  const inTheMiddle = [...hit].map(([what, times]) => `${what} ${times}`).join(', ');
  t.diagnostic(
    `${KILLS} kills, in the middle of: ${inTheMiddle}; API back after ${backs.join(', ')} ms, slowest answer of all ${Math.round(slowestMs)} ms`,
  );
  t.diagnostic(
    `acknowledged: ${ledger.targets.length} targets and ${ledger.orders.length} orders through the database, ${ledger.results.size} results, ` +
      `${ledger.images.length} versions, ${ledger.runs.length} runs, ${steps.acknowledged} steps (${steps.refused} refused); 0 lost, 0 doubled`,
  );
});

/** An image and an engine at headquarters, of which the branch is made a child through the database and fetches both. */
async function meet({ hq, branch, office }: { hq: Node; branch: Node; office: Node }): Promise<Imported> {
  await fillHeadquarters(root, hq.site);
  await eventually('the branch has met hq', async () => (await branch.site.db('peers').where({ name: 'hq' }).first()) !== undefined);
  await setParent(office.site, { server: 'branch', parent: 'hq', actor: 'operator:me' });
  await eventually('the branch has its parent', async () => branch.site.keys.parentCredentials(hq.site.self.id) !== undefined);
  await replicate(branch);
  await eventually(
    'the office knows the image',
    async () => (await office.site.db('images').where({ name: 'debian' }).first()) !== undefined,
  );
  for (const { site } of [hq, office])
    await eventually('the branch is known', () => findServerBelow(site.db, 'branch').catch(() => undefined));
  const { manifest } = await hq.site.db('images').where({ name: 'debian' }).first('manifest');
  return { reference: 'debian@1', manifest, raw: join(root, 'debian.raw') };
}
