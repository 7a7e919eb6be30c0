import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Name, parseMac } from '../../core/ids.ts';
import { placeOrder } from '../../server/control/place.ts';
import { locateOrder, showTarget } from '../../server/control/things-below.ts';
import { listEvents } from '../../server/db/events.ts';
import { getOrder } from '../../server/orders/orders.ts';
import { viewOrder } from '../../server/orders/view.ts';
import { compareTold, isAllTold } from '../../server/shared/tell-all.ts';
import { addTarget } from '../../server/targets.ts';
import type { TestServer } from '../agent/helpers.ts';
import { eventsArrived, eventually } from '../helpers/control-sites.ts';
import { startGalera } from '../helpers/galera/cluster.ts';
import type { GaleraNode } from '../helpers/galera/node.ts';
import { howMany } from '../helpers/how-many.ts';
import { fillHeadquarters, playDeployment } from '../helpers/play-machine.ts';
import { randomFrom } from '../helpers/seeded.ts';
import { type SharedNode, startSharedNode } from '../helpers/shared-sites.ts';
import { compareSteps, keepStepping, STEPS_OF, type Steps } from '../helpers/shared-steps.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

/** How often a node is killed. */
const KILLS = howMany({ sample: 2, full: 20 });
const SEED = Number(process.env['SEED'] || 1127);
/** A node that dies without a word is waited for by the others for 5 s. */
const BACK_MS = 20_000;

const root = await temporaryDirectory('galera');
const cluster = await startGalera();
after(() => cluster.stop());
await cluster.createDatabase('meeting');
const passwordFile = join(root, 'password');
await writeFile(passwordFile, `${cluster.password}\n`, { mode: 0o600 });
const setting = (...order: number[]) => ({
  hosts: order.map((n) => cluster.hosts[n] as string),
  user: 'waystation',
  name: 'meeting',
  passwordFile,
});
const random = randomFrom(SEED);
const MOMENTS = ['ordered', 'begun', 'deploying', 'done'] as const;
const mac = (n: number) => parseMac(`525400000${(0x100 + n).toString(16)}`);

test(`a node of three is killed ${KILLS} times in the middle of orders: all goes on at another, nothing is lost or doubled at any`, async (t) => {
  // They begin at different nodes, so that two of them take writes.
  const office = await startSharedNode(root, 'office', setting(0, 1, 2));
  const branch = await startSharedNode(root, 'branch', setting(1, 2, 0));
  await fillHeadquarters(root, branch.site);
  await eventually('office knows the image', async () => (await office.site.db('images').where({ name: 'debian' }).first()) !== undefined);
  const steps = keepStepping([office.site, branch.site], 20);
  after(steps.stop);
  const orders: string[] = [];
  for (let kill = 1; kill <= KILLS; kill++) {
    const plan = { kill, moment: MOMENTS[Math.floor(random() * MOMENTS.length)] ?? 'begun', isWiped: kill % 2 === 0 };
    const round = await playRound(t, { office, branch, steps }, plan);
    orders.push(round.orderId);
    console.log(`kill ${kill}: ${round.words}`);
  }
  await steps.stop();
  for (const orderId of orders) await compareOrder(office, branch, orderId);
  await compareServers(office, branch);
  for (const node of [office, branch]) await node.close();
  await eventually('the nodes hold the same rows', () => cluster.isAlike('meeting'));
  const there = await (cluster.nodes[0] as GaleraNode).ask<{ number: string }>(STEPS_OF('meeting'));
  const lost = compareSteps(
    steps,
    there.map(({ number }) => Number(number)),
  );
  console.log(
    `${KILLS} kills (seed ${SEED}): ${orders.length} orders ended once, ${steps.done.length} numbered writes acknowledged, ${steps.refused()} refused in words; ${lost.length} lost, 0 doubled; the nodes are alike`,
  );
  assert.deepEqual(lost, [], 'acknowledged by the cluster, and gone');
});

type Servers = { readonly office: SharedNode; readonly branch: SharedNode; readonly steps: Steps };
type Plan = { readonly kill: number; readonly moment: (typeof MOMENTS)[number]; readonly isWiped: boolean };

/** An order of office for a machine at the branch, carried out, with a node that is killed meanwhile and comes back. */
async function playRound(t: TestContext, { office, branch, steps }: Servers, plan: Plan) {
  const { kill, moment, isWiped } = plan;
  const name = `till-${kill}`;
  await addTarget(branch.site, { name: name as Name, macs: [mac(kill)] }, 'test');
  await eventually('office knows the machine', () => showTarget(office.site, name).catch(() => undefined));
  // In turn the node of the server that carries out, of the one that orders, and the one of neither when there is one.
  const used = await Promise.all([branch, office].map(nodeOf));
  const idle = cluster.nodes.find((node) => !used.includes(node));
  const victim = (kill % 3 === 0 ? idle : undefined) ?? (used[(kill + 1) % 2] as GaleraNode);
  let killedAt = 0;
  const strike = async (at: typeof moment) => {
    if (at !== moment) return;
    killedAt = performance.now();
    await victim.kill();
  };
  const { id } = await placeOrder(office.site, { targetRef: name, imageRef: 'debian', actor: 'operator:me' });
  await strike('ordered');
  await eventually('it has begun', async () => (await getOrder(branch.site, id).catch(() => undefined))?.state === 'activated');
  await strike('begun');
  const { serving, site } = branch;
  const server: TestServer = { site, serving, folder: root, pin: site.keys.caPin, clock: { offsetMs: 0 } };
  const playing = playDeployment(t, { server, root, orderId: id, address: mac(kill) });
  await Promise.all([playing, sleep(random() * 600).then(() => strike('deploying'))]);
  await strike('done');
  const backMs: number[] = [];
  for (const node of [office, branch]) {
    const at = await eventually(`a write of ${node.site.self.name}`, async () => steps.endOfFirst(node.site, killedAt));
    backMs.push(Math.round(at - killedAt));
  }
  assert.ok(Math.max(...backMs) <= BACK_MS, `back after ${backMs.join(' and ')} ms`);
  await eventually('the result is there', async () => (await seenAt(office, id))?.state === 'current');
  if (isWiped) await victim.wipe();
  const joined = await victim.start();
  assert.equal(joined, isWiped ? 'SST' : 'IST');
  return { orderId: id, words: `${victim.name} when ${moment}, writes go on after ${backMs.join(' and ')} ms, it rejoins by ${joined}` };
}

async function nodeOf({ site }: SharedNode): Promise<GaleraNode> {
  const name = await site.shared?.read(
    'a test',
    async (db) => ((await db.raw('select @@wsrep_node_name as name'))[0][0] as { name: string }).name,
  );
  return cluster.nodes.find((node) => node.name === name) as GaleraNode;
}

async function seenAt({ site }: SharedNode, orderId: string) {
  const located = await locateOrder(site, orderId).catch(() => undefined);
  return located?.where === 'below' ? located.below.view : located?.view;
}

async function compareOrder(office: SharedNode, branch: SharedNode, orderId: string): Promise<void> {
  assert.equal((await getOrder(branch.site, orderId)).state, 'current');
  await eventually(`the last word of order ${orderId}`, async () => {
    const { revision } = await viewOrder(branch.site, await getOrder(branch.site, orderId));
    const seen = await seenAt(office, orderId);
    return seen?.state === 'current' && seen.revision === revision;
  });
  for (const { site } of [office, branch]) {
    const ended = (await listEvents(site.db, { subject: orderId, limit: 1000 })).filter(({ kind }) => kind === 'order.current');
    assert.equal(ended.length, 1, `order ${orderId} ended once at ${site.self.name}`);
  }
}

/** What either has is known at the other, and in the database, each once. */
async function compareServers(office: SharedNode, branch: SharedNode): Promise<void> {
  await eventually('every event of the branch is at office', () => eventsArrived(branch.site, office.site));
  await eventually('every event of office is at the branch', () => eventsArrived(office.site, branch.site));
  for (const { site } of [office, branch])
    await eventually(`all of ${site.self.name} is told`, async () => site.shared && isAllTold(await compareTold(site, site.shared)));
  await eventually('no command waits', async () => {
    const rows = await office.site.shared?.read('a test', (db) => db('shared_commands').count({ count: '*' }).first());
    return Number(rows?.['count']) === 0;
  });
}
