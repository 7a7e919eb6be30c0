import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Name, parseMac } from '../../../core/ids.ts';
import { placeOrder, regroupTarget } from '../../../server/control/place.ts';
import { locateOrder, showTarget } from '../../../server/control/things-below.ts';
import { listLinks, updateLinkCaps } from '../../../server/db/links.ts';
import { getServer, listServers } from '../../../server/db/servers.ts';
import { resolveImage } from '../../../server/images/reference.ts';
import { setParent } from '../../../server/shared/parents.ts';
import { addTarget } from '../../../server/targets.ts';
import { eventually, makeNode, type Node, replicate } from '../../helpers/control-sites.ts';
import { startMeetingNodes } from '../../helpers/meeting-nodes.ts';
import { importDisk, makeDisk } from '../../helpers/replication-sites.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

const root = await temporaryDirectory('parents');
const { meeting, nodes } = await startMeetingNodes(root, ['hq', 'relay', 'branch']);
const [hq, relay, branch] = nodes;

const set = (at: Node, server: string, parent: string | null) => setParent(at.site, { server, parent, actor: 'operator:me' });
const parentsOf = async ({ site }: Node): Promise<string[]> =>
  (await listServers(site.db)).filter(({ relation }) => relation === 'parent').map(({ name }) => name);
const childrenOf = async ({ site }: Node): Promise<string[]> =>
  (await listServers(site.db)).filter(({ relation, state }) => relation === 'child' && state === 'active').map(({ name }) => name);
const settles = (what: string, node: Node, parents: string[]) =>
  eventually(what, async () => JSON.stringify(await parentsOf(node)) === JSON.stringify(parents));

test('a parent that is wished anywhere is joined without a token, and what it holds comes by a run', async () => {
  await makeDisk(join(root, 'disk.raw'), 100_000);
  await importDisk(hq.site, join(root, 'disk.raw'));
  await addTarget(branch.site, { name: 'till' as Name, macs: [parseMac('525400000001')] }, 'test');
  await eventually('all three know each other', async () => (await hq.site.db('peers').count({ n: '*' }).first())?.['n'] === 2);
  const started = performance.now();
  assert.deepEqual(await set(relay, 'branch', 'hq'), { server: 'branch', parent: 'hq', revision: 1, changed: true });
  await settles('the branch has its parent', branch, ['hq']);
  assert.ok(performance.now() - started < 15_000);
  await eventually('hq has its child', async () => (await childrenOf(hq)).includes('branch'));
  await eventually('the target is known', async () => (await hq.site.db('reported_words').where({ word: 'till' }).first()) !== undefined);
  const { id } = await placeOrder(hq.site, { targetRef: 'till', imageRef: 'debian', actor: 'operator:me' });
  const noteOf = async () => {
    const located = await locateOrder(hq.site, id);
    return located.where === 'below' ? located.below.view : undefined;
  };
  await eventually('the order waits for its image', async () => (await noteOf())?.note?.includes('comes with a replication run'));
  await replicate(branch);
  assert.equal((await resolveImage(branch.site.db, 'debian')).state, 'published');
  await eventually('the order has begun', async () => (await noteOf())?.state === 'activated' || (await noteOf())?.state === 'pending');
  assert.equal((await set(hq, 'branch', 'hq')).changed, false);
});

test('circles, oneself, strangers and those who left are refused in words', async () => {
  await set(hq, 'relay', 'branch');
  await assert.rejects(set(hq, 'hq', 'relay'), { code: 'wrong_state', message: /above itself/ });
  await assert.rejects(set(hq, 'hq', 'hq'), { code: 'wrong_state', message: /own parent/ });
  await assert.rejects(set(hq, 'hq', 'nobody'), { code: 'not_found' });
  await assert.rejects(set(hq, 'nobody', null), { code: 'not_found' });
  await settles('the relay has its parent', relay, ['branch']);
  await set(hq, 'relay', null);
  await settles('the relay has none', relay, []);
});

test('two who change the tree at the same time make no circle of it', async () => {
  const [one, other] = await Promise.allSettled([set(hq, 'relay', 'hq'), set(branch, 'hq', 'relay')]);
  assert.deepEqual([one.status, other.status].sort(), ['fulfilled', 'rejected']);
  await set(hq, 'hq', null);
  await set(hq, 'relay', 'hq');
  await settles('the relay is below hq', relay, ['hq']);
  await settles('and hq below nobody', hq, []);
});

test('another parent takes the place of the one before: the link keeps what was set, and nothing that was replicated goes', async () => {
  await replicate(relay);
  const [link] = await listLinks(branch.site.db);
  assert.ok(link);
  await updateLinkCaps(branch.site.db, link.id, { bps: 5_000_000, office: null });
  await set(hq, 'branch', 'relay');
  await settles('the branch is below the relay', branch, ['relay']);
  const [moved] = await listLinks(branch.site.db);
  assert.deepEqual([moved?.id, moved?.parentId, moved?.caps.bps, moved?.heldGeneration], [link.id, relay.site.self.id, 5_000_000, 0]);
  assert.equal((await resolveImage(branch.site.db, 'debian')).state, 'published');
  assert.equal(branch.site.keys.parentCredentials(hq.site.self.id), undefined);
  const before = (await branch.site.store.stats()).chunks;
  await replicate(branch);
  assert.equal((await branch.site.store.stats()).chunks, before);
  await eventually('hq has let it go', async () => (await getServer(hq.site.db, branch.site.self.id))?.state === 'revoked');
});

test('a server with a parent finds a machine at any other when it is named, and hears of it from then on', async () => {
  await addTarget(hq.site, { name: 'desk' as Name, macs: [parseMac('525400000002')] }, 'test');
  const view = await eventually('it is found', () => showTarget(branch.site, '52-54-00-00-00-02').catch(() => undefined));
  assert.deepEqual([view.name, view.server], ['desk', 'hq']);
  await regroupTarget(branch.site, 'desk', 'foyer' as Name, 'test');
  await eventually('it is done there', async () => (await showTarget(hq.site, 'desk')).group === 'foyer');
  await eventually('and told here', async () => (await showTarget(branch.site, 'desk')).group === 'foyer');
  await assert.rejects(showTarget(branch.site, 'nowhere'), { code: 'not_found' });
});

test('a parent that takes no children through the database says so, and a token helps', async () => {
  const strict = await makeNode(root, 'strict', undefined, { flags: { database: meeting.database, enrolThroughDatabase: false } });
  try {
    await eventually('it is known', async () => (await hq.site.db('peers').where({ name: 'strict' }).first()) !== undefined);
    await set(hq, 'hq', 'strict');
    const words = await eventually('it refuses', async () => {
      const row = await hq.site.shared?.read('test', (db) => db('shared_servers').where({ name: 'hq' }).first('enrol'));
      return row?.enrol !== null && (JSON.parse(row.enrol).refusal?.message as string | undefined);
    });
    assert.match(words, /takes no children through the database/);
    assert.deepEqual(await parentsOf(hq), []);
    await set(hq, 'hq', null);
  } finally {
    await strict.close();
  }
});
