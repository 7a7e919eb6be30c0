import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { listEvents } from '../../server/db/events.ts';
import { listServers } from '../../server/db/servers.ts';
import { getSetting } from '../../server/db/settings.ts';
import { getDocument, setDocument } from '../../server/documents.ts';
import { resolveImage } from '../../server/images/reference.ts';
import { childrenOf, DEPUTY } from '../../server/succession/deputy.ts';
import { readFence } from '../../server/succession/fence.ts';
import { eventually, makeNode, type Node, replicate } from '../helpers/control-sites.ts';
import { enrolAt, importDisk, makeDisk } from '../helpers/replication-sites.ts';
import { runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

/** The master has named who may take its place, as long as it lived: then all others follow by themselves, and it knows when it is back. */

const root = await temporaryDirectory('deputy');
const flags = { deputyAfterSeconds: 1 };
let hq: Node;
let north: Node;
let south: Node;
/** A child that says of itself that it took the place. */
let west: Node;
/** Below north. */
let deep: Node;

before(async () => {
  hq = await makeNode(root, 'hq', undefined, { flags });
  north = await makeNode(root, 'north', hq, { flags });
  south = await makeNode(root, 'south', hq, { flags });
  west = await makeNode(root, 'west', hq, { flags });
  deep = await makeNode(root, 'deep', north, { flags });
  await makeDisk(join(root, 'disk.raw'), 60_000);
  await importDisk(hq.site, join(root, 'disk.raw'));
  await setParameter(hq, 'from hq');
});
after(async () => {
  for (const node of [deep, west, south, north, hq]) await node?.close();
});

const setParameter = ({ site }: Node, value: string) => setDocument(site, { type: 'parameter', name: 'mirror', actor: 'test' }, { value });
const valueAt = async ({ site }: Node) => ((await getDocument(site, 'parameter', 'mirror')).content as { value: string }).value;
const parentsOf = async ({ site }: Node) =>
  (await listServers(site.db)).filter(({ relation }) => relation === 'parent').map(({ name }) => name);
const eventsAt = async ({ site }: Node, kind: string) =>
  (await listEvents(site.db, { origin: site.self.id, limit: 1000 })).filter((event) => event.kind === kind);
/** Asks again and again, and does not wait for its turn. */
const soon = <T>(what: string, node: Node, probe: () => Promise<T | undefined | false>) =>
  eventually(what, async () => {
    node.site.wake.notify(DEPUTY);
    return probe();
  });
const at = ({ site }: Node, ...words: string[]) => ['--data', site.dataDir, 'server', ...words];

test('a deputy is a child whose address is known, named in a statement that all servers below hold', async () => {
  assert.equal((await runCli(at(hq, 'deputy', 'set', 'north'))).code, 64);
  assert.equal((await runCli(at(hq, 'deputy', 'set', 'nobody', '--address', 'https://x'))).code, 66);
  const set = await runJson(at(hq, 'deputy', 'set', 'north', '--address', north.serving?.httpsUrl ?? ''));
  assert.deepEqual(set, { code: 0, document: { server: 'hq', deputy: { name: 'north', url: north.serving?.httpsUrl }, said: true } });
  for (const node of [north, south, west, deep]) await replicate(node);
  const told = await soon('the deputy is told of the children', hq, async () => {
    const children = await childrenOf(north.site.db, hq.site.self.id);
    return children.length === 2 && children;
  });
  assert.deepEqual(told.map(({ name }) => name).sort(), ['south', 'west']);
});

test('a child that was not named cannot stop its parent, nor take anybody along: it is written down, and doctor says what to do', async () => {
  assert.equal((await runCli(at(west, 'promote', 'west', '--yes', '--even-if-alive'))).code, 0);
  await soon('hq hears of it', west, async () => (await eventsAt(hq, 'server.place-claimed')).length === 1);
  assert.equal(await readFence(hq.site.db), undefined);
  const doctor = await runJson(['--data', hq.site.dataDir, 'doctor']);
  assert.match(JSON.stringify(doctor.document), /server west says that it took the place of this one/);
  await setParameter(hq, 'still from hq');
  for (const node of [north, south, deep]) await replicate(node);
  assert.deepEqual([await valueAt(south), await parentsOf(south)], ['still from hq', ['hq']]);
});

test('when the master is lost and its deputy promoted, the others follow by themselves, with all that they hold', async () => {
  await hq.close();
  assert.equal((await runCli(at(north, 'promote', 'north', '--yes', '--even-if-alive'))).code, 0);
  await soon('the other child follows', south, async () => (await parentsOf(south))[0] === 'north');
  await setParameter(north, 'from north');
  for (const node of [south, deep]) await replicate(node);
  assert.deepEqual([await valueAt(south), await valueAt(deep)], ['from north', 'from north']);
  for (const node of [north, south, deep]) assert.equal((await resolveImage(node.site.db, 'debian')).state, 'published', node.name);
  assert.deepEqual(await parentsOf(deep), ['north']);
});

test('the master that comes back hears of it from its deputy, and is fenced until it is a child', async () => {
  await hq.reopen();
  await hq.start();
  const fence = await soon('it is fenced', north, () => readFence(hq.site.db));
  assert.deepEqual([fence.phase, fence.name], ['fenced', 'north']);
  await assert.rejects(setParameter(hq, 'again'), { code: 'fenced', message: /north took its place/ });
  await soon('north calls no more', north, async () => (await getSetting(north.site.db, 'takeover.calling')) === undefined);
  await enrolAt(north.site, hq.site, north.serving?.httpsUrl ?? '');
  await replicate(hq);
  assert.deepEqual([await readFence(hq.site.db), await valueAt(hq)], [undefined, 'from north']);
});
