import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { type Name, parseMac } from '../../core/ids.ts';
import { regroupTarget, setPolicy } from '../../server/control/place.ts';
import { listAllTargets, showTarget } from '../../server/control/things-below.ts';
import { listEvents } from '../../server/db/events.ts';
import { getObject } from '../../server/db/objects.ts';
import { setDocument } from '../../server/documents.ts';
import type { Site } from '../../server/site.ts';
import { addTarget, getTarget, removeTarget } from '../../server/targets.ts';
import { eventsArrived, eventually, makeNode, type Node, startNode } from '../helpers/control-sites.ts';
import { howMany } from '../helpers/how-many.ts';
import { type Meeting, startMeeting } from '../helpers/meeting.ts';
import { runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

/**
 * A server that meets others in a MariaDB is lost and restored elsewhere from its backup, while the database and the others remember
 * what it has forgotten. Who gives orders and who does them are lost in turns. The backup is taken and restored by the commands.
 */
const DRILLS = howMany({ sample: 1, full: 20 });

const root = await temporaryDirectory('restore-meeting');
let meeting: Meeting;

before(async () => {
  meeting = await startMeeting(root);
});
after(() => meeting?.mariadb.stop());

type Drill = { readonly dir: string; readonly flags: { readonly database: string }; hq: Node; branch: Node; readonly witness: Node };

const mac = (n: number) => parseMac(`52540000000${n}`);
const regroup = (by: Node, group: string) => regroupTarget(by.site, 'till', group as Name, 'test');
const document = (by: Node, name: string, value: string) => setDocument(by.site, { type: 'parameter', name, actor: 'test' }, { value });

for (let n = 1; n <= DRILLS; n += 1) {
  const lost = n % 2 === 1 ? 'branch' : 'hq';
  test(`drill ${n} of ${DRILLS}: ${lost} is lost and restored from a backup, nothing of it is lost that the others know, nothing is done twice`, {
    timeout: 300_000,
  }, async () => {
    const drill = await setUp(join(root, `drill-${n}`));
    try {
      const { file, before } = await liveOn(drill, lost);
      await restoreElsewhere(drill, lost, file);
      await lookThrough(drill, lost, before);
    } finally {
      for (const node of [drill.hq, drill.branch, drill.witness]) await node.close();
    }
  });
}

/** Who gives orders, who has a machine and does them, and one that looks on. */
async function setUp(dir: string): Promise<Drill> {
  const name = basename(dir).replace('-', '_');
  meeting.mariadb.createDatabase(name);
  const flags = { database: meeting.database.replace('/meet?', `/${name}?`) };
  const make = (server: string) => makeNode(dir, server, undefined, { flags });
  const drill = { dir, flags, hq: await make('hq'), branch: await make('branch'), witness: await make('witness') };
  await addTarget(drill.branch.site, { name: 'till' as Name, macs: [mac(1)] }, 'test');
  await addTarget(drill.branch.site, { name: 'old' as Name, macs: [mac(2)] }, 'test');
  await eventually('hq knows the machines', async () => (await listAllTargets(drill.hq.site, {})).items.length === 2);
  await regroup(drill.hq, 'before');
  await document(drill.hq, 'entry', 'one');
  await eventually('a command was done', async () => (await getTarget(drill.branch.site, 'till')).group === 'before');
  return drill;
}

/** A backup, then further life, all of it told; then the server is gone with its directory. */
async function liveOn({ dir, hq, branch, witness }: Drill, lost: 'hq' | 'branch') {
  const file = join(dir, `${lost}.wsb`);
  const taken = await runJson(['--data', join(dir, lost), 'server', 'backup', file]);
  assert.equal(taken.code, 0, JSON.stringify(taken.document));
  for (const group of ['first', 'second']) await regroup(hq, group);
  await setPolicy(hq.site, 'branch', { key: 'approve', value: 'operator' }, 'test');
  const entry = await document(hq, 'entry', 'two');
  const made = await document(branch, 'since', 'yes');
  await addTarget(branch.site, { name: 'new' as Name, macs: [mac(3)] }, 'test');
  await removeTarget(branch.site, await getTarget(branch.site, 'old'), 'test');
  await eventually('the last command is done', async () => (await policiesAt(branch.site)).length === 1);
  await eventually('hq heard that it is done', async () => (await hq.site.db('control_queue').first()) === undefined);
  for (const node of [hq, branch]) await eventually('all is told', () => eventsArrived(node.site, witness.site));
  await eventually('the documents are known', async () => {
    const found = [await getObject(witness.site.db, entry.id as never), await getObject(witness.site.db, made.id as never)];
    return found[0]?.revision === entry.revision && found[1] !== undefined;
  });
  const node = lost === 'hq' ? hq : branch;
  const told = await eventsAt(witness.site, node.site);
  await node.close();
  await rm(join(dir, lost), { recursive: true });
  return { file, before: { entry, made, told } };
}

async function restoreElsewhere(drill: Drill, lost: 'hq' | 'branch', file: string): Promise<void> {
  const restored = await runJson<{ serverId: string }>(['--data', join(drill.dir, 'elsewhere'), 'server', 'restore', file]);
  assert.equal(restored.code, 0, JSON.stringify(restored.document));
  assert.equal(restored.document.serverId, drill[lost].site.self.id);
  drill[lost] = await startNode(drill.dir, 'elsewhere', { flags: drill.flags });
}

type Before = Awaited<ReturnType<typeof liveOn>>['before'];

async function lookThrough({ hq, branch, witness }: Drill, lost: 'hq' | 'branch', { entry, made, told }: Before): Promise<void> {
  // Asked before it has heard anything of the others: no number of before is taken for one of these.
  const groups = ['third', 'fourth', 'fifth'];
  for (const group of groups) await regroup(hq, group);
  await eventually('the last one is done', async () => (await getTarget(branch.site, 'till')).group === 'fifth');
  const [restored, other] = lost === 'hq' ? [hq, branch] : [branch, hq];
  await eventually('all of the other one is told', () => eventsArrived(other.site, witness.site));
  // What was told before the loss stays as it was told; behind it comes what happened since, each event once.
  const here = async () => (await eventsAt(restored.site, restored.site)).slice(told.length);
  const there = async () => (await eventsAt(witness.site, restored.site)).slice(told.length);
  await eventually('what happened since is told', async () => isDeepStrictEqual(await there(), await here()));
  assert.deepEqual((await eventsAt(witness.site, restored.site)).slice(0, told.length), told);
  assert.ok((await here()).some(({ kind }) => kind === 'events.lost'));
  // What a branch has forgotten cannot be said by it again: its last group is that of its backup, and each command since is done once.
  const done = lost === 'hq' ? ['before', 'first', 'second', ...groups] : ['before', ...groups];
  assert.deepEqual(await groupsAt(branch.site), done);
  const heard = (await eventsAt(witness.site, branch.site)).filter(({ kind }) => kind === 'target.grouped').length;
  assert.ok(heard >= groups.length + 1, `${heard} groupings are known to the witness`);
  assert.equal((await policiesAt(branch.site)).length, lost === 'hq' ? 1 : 0, 'a command that was done is not done again');
  const machines = async (site: Site) => (await listAllTargets(site, { limit: 100 })).items.map(({ name }) => String(name)).sort();
  assert.deepEqual(await machines(branch.site), lost === 'hq' ? ['new', 'till'] : ['old', 'till']);
  // What a branch has forgotten, and has told, stays shown elsewhere.
  for (const { site } of [hq, witness])
    await eventually('the machines are known', async () => String(await machines(site)) === (lost === 'hq' ? 'new,till' : 'new,old,till'));
  // What a machine is like now goes another way than what happened.
  await eventually('the machine is known as it is', async () => (await showTarget(witness.site, 'till')).group === 'fifth');
  // Objects that were made since stay where they are known; what is decided now counts everywhere.
  assert.notEqual(await getObject(witness.site.db, made.id as never), undefined);
  assert.equal((await getObject(witness.site.db, entry.id as never))?.revision, entry.revision);
  const { id } = await document(hq, 'entry', 'three');
  const revisionAt = async ({ site }: Node) => (await getObject(site.db, id as never))?.revision;
  await eventually('the new entry is known', async () => (await revisionAt(witness)) === (await revisionAt(hq)));
}

async function eventsAt(site: Site, of: Site) {
  return listEvents(site.db, { origin: of.self.id, limit: 10_000 });
}

async function groupsAt(branch: Site): Promise<unknown[]> {
  return (await eventsAt(branch, branch)).filter(({ kind }) => kind === 'target.grouped').map(({ data }) => data['group']);
}

async function policiesAt(branch: Site) {
  return (await eventsAt(branch, branch)).filter(({ kind }) => kind === 'setting.changed');
}
