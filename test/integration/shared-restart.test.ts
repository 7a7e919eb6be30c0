import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { eventually } from '../helpers/control-sites.ts';
import { howMany } from '../helpers/how-many.ts';
import { startMariadb } from '../helpers/mariadb.ts';
import { NumberedSteps } from '../helpers/numbered-steps.ts';
import { runJson } from '../helpers/run-cli.ts';
import { randomFrom } from '../helpers/seeded.ts';
import { rowOf, type SharedNode, sharedSetting, startSharedNode } from '../helpers/shared-sites.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

/** How often the database is killed. SEED sets the pauses. */
const KILLS = howMany({ sample: 2, full: 100 });
const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const random = randomFrom(SEED);
const BACK_MS = 5_000;
/**
 * Who noticed the outage beats at once when it is over. Whose calls were all just tried again noticed none, and beats when its beat is due: every 10 s.
 */
const BEATS_MS = 10_000 + BACK_MS;

const root = await temporaryDirectory('shared-restart');
const mariadb = await startMariadb(['--innodb-flush-log-at-trx-commit=1']);
after(() => mariadb.stop());
mariadb.createDatabase('meeting');

/** What was acknowledged, kept outside the system. */
type Ledger = { readonly targets: string[]; readonly steps: NumberedSteps };

/** The database is a SIGKILL away at any time: in a statement, between statements, in COMMIT. */
test(`what ${KILLS} kills of the database under load leave: nothing lost, nothing doubled, all at work within 5 s (seed ${SEED})`, async () => {
  const setting = await sharedSetting(root, mariadb, 'meeting');
  const nodes = [await startSharedNode(root, 'hq', setting), await startSharedNode(root, 'branch', setting)];
  const [hq, branch] = nodes as [SharedNode, SharedNode];
  for (const { site } of nodes) await eventually('a heartbeat', async () => (await rowOf(site))?.heartbeatAt);
  const ledger: Ledger = { targets: [], steps: new NumberedSteps(mariadb, 'meeting') };
  const stepsOf = ({ site }: SharedNode) => ledger.steps.acknowledgedBy(site);
  const load = startLoad(hq, branch, ledger);
  after(load.stop);
  const backs: number[] = [];
  for (let kill = 1; kill <= KILLS; kill++) {
    await new Promise((resolve) => setTimeout(resolve, 300 + random() * 1200));
    await mariadb.kill();
    ledger.steps.kills = kill;
    // A moment in which both servers notice, and work on.
    await new Promise((resolve) => setTimeout(resolve, random() * 1500));
    const seen = ledger.targets.length;
    const beaten = await beatsBefore(nodes);
    await mariadb.start();
    const from = performance.now();
    const steps = nodes.map(stepsOf);
    await Promise.all(nodes.map((node, n) => eventually(`a write of ${node.site.self.name}`, async () => stepsOf(node) > (steps[n] ?? 0))));
    const back = performance.now() - from;
    backs.push(Math.round(back));
    assert.ok(back <= BACK_MS, `kill ${kill}: back after ${Math.round(back)} ms`);
    await Promise.all(
      nodes.map(({ site }, n) => eventually(`a heartbeat of ${site.self.name}`, async () => (await beat(site)) > (beaten[n] ?? 0))),
    );
    assert.ok(performance.now() - from <= BEATS_MS, `kill ${kill}: heartbeats after ${Math.round(performance.now() - from)} ms`);
    assert.ok(ledger.targets.length >= seen);
    await ledger.steps.look();
  }
  await load.stop();
  await compare(hq, branch, ledger);
  // And it would have been seen.
  mariadb.sql("update meeting.shared_leases set fencing = 2 where name like 'step %' and fencing = 1");
  await assert.rejects(
    () => ledger.steps.compare(),
    /number 2 is there 2 times.*number 1 is missing.*was told 1 and is there as 2.*"attempts":/s,
  );
  console.log(
    `${KILLS} kills: back after ${backs.join(', ')} ms; ${ledger.targets.length} targets, ${ledger.steps.acknowledged} steps acknowledged, ${ledger.steps.refused} refused; 0 lost, 0 doubled`,
  );
});

/** The heartbeats of before the outage, as far as the servers themselves remember; the database is away. */
const lastBeats = new Map<string, number>();
async function beat(site: SharedNode['site']): Promise<number> {
  const at = (await rowOf(site).catch(() => undefined))?.heartbeatAt ?? 0;
  if (at > 0) lastBeats.set(site.self.id, at);
  return at;
}
async function beatsBefore(nodes: readonly SharedNode[]): Promise<number[]> {
  return nodes.map(({ site }) => lastBeats.get(site.self.id) ?? 0);
}

function startLoad(hq: SharedNode, branch: SharedNode, ledger: Ledger): { stop(): Promise<void> } {
  let isOver = false;
  const repeat = async (work: () => Promise<void>, pauseMs: number) => {
    while (!isOver) {
      await work();
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  };
  let made = 0;
  // Through the API of the servers: acknowledged whether the database is there or not.
  const addTarget = (node: SharedNode) => async () => {
    const mac = `52:54:00:${[16, 8, 0].map((shift) => ((made >> shift) & 255).toString(16).padStart(2, '0')).join(':')}`;
    const name = `box-${made++}`;
    const argv = ['target', 'add', name, '--mac', mac, '--data', node.site.dataDir];
    const { code, document } = await runJson<{ id: string }>(argv);
    assert.equal(code, 0, JSON.stringify(document));
    ledger.targets.push(document.id);
  };
  // Directly where servers meet: acknowledged, or refused in words.
  const step = (node: SharedNode) => () => ledger.steps.take(node.site);
  const running = Promise.all([
    repeat(addTarget(hq), 20),
    repeat(addTarget(branch), 20),
    ...[hq, branch, hq, branch].map((node) => repeat(step(node), 5)),
    repeat(async () => void (await beat(hq.site)), 500),
    repeat(async () => void (await beat(branch.site)), 500),
  ]);
  return {
    stop: async () => {
      isOver = true;
      await running;
    },
  };
}

async function compare(hq: SharedNode, branch: SharedNode, ledger: Ledger): Promise<void> {
  await ledger.steps.compare();
  for (const [from, to] of [
    [hq, branch],
    [branch, hq],
  ] as const) {
    const own = async () => (await from.site.db('events').where({ origin: from.site.self.id }).orderBy('seq').pluck('seq')).map(Number);
    await eventually(`all of ${from.site.self.name} is told`, async () => {
      const told = mariadb
        .ask(`select seq from meeting.shared_events where origin = '${from.site.self.id}' order by seq`)
        .split('\n')
        .filter(Boolean);
      return JSON.stringify(told.map(Number)) === JSON.stringify(await own());
    });
    const targets: string[] = await from.site.db('targets').pluck('id');
    await eventually(`${to.site.self.name} knows all targets of ${from.site.self.name}`, async () => {
      const known: string[] = await to.site
        .db('reported')
        .where({ origin: from.site.self.id, kind: 'target' })
        .whereNotNull('body')
        .pluck('subject');
      return known.length === targets.length && new Set(known).size === known.length && targets.every((id) => known.includes(id));
    });
  }
  const all: string[] = [...(await hq.site.db('targets').pluck('id')), ...(await branch.site.db('targets').pluck('id'))];
  assert.deepEqual(all.sort(), [...ledger.targets].sort(), 'targets: acknowledged and there, each once');
}
