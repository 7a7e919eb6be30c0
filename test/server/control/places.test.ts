import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { touchServer } from '../../../server/db/servers.ts';
import { viewServers } from '../../../server/panel/server-views.ts';
import { eventually, makeNode, type Node } from '../../helpers/control-sites.ts';
import { runJson } from '../../helpers/run-cli.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

const root = await temporaryDirectory('places');
let [hq, relay, leaf, alone]: Node[] = [];

before(async () => {
  hq = await makeNode(root, 'hq');
  relay = await makeNode(root, 'relay', hq);
  leaf = await makeNode(root, 'leaf', relay);
  alone = await makeNode(root, 'alone');
});
after(async () => {
  for (const node of [alone, leaf, relay, hq]) await node?.close();
});

const placesAt = async (node: Node | undefined) => {
  const servers = await viewServers((node as Node).site);
  return Object.fromEntries(servers.map(({ name, role, parent }) => [name, `${role} below ${parent}`]));
};

test('every server of a tree sees the same roles and parents, computed from the links', async () => {
  await eventually('the reports', async () => Object.keys(await placesAt(hq)).length === 3);
  const whole = { hq: 'master below null', relay: 'both below hq', leaf: 'slave below relay' };
  await eventually('relay said where it stands', async () => (await placesAt(hq))['leaf'] === whole.leaf);
  assert.deepEqual(await placesAt(hq), whole);
  assert.deepEqual(await placesAt(relay), whole);
  const { hq: _unseen, ...near } = whole;
  assert.deepEqual(await placesAt(leaf), near);
  assert.deepEqual(await placesAt(alone), { alone: 'alone below null' });
});

test('the list says who was heard when, and which release runs there', async () => {
  const { document } = await runJson<{
    items: { name: string; silent: boolean; heartbeatAgeSeconds: number; version: string; shared: unknown }[];
  }>([...['server', 'list', '--data', (hq as Node).site.dataDir]]);
  for (const { name, silent, heartbeatAgeSeconds, version } of document.items)
    assert.ok(!silent && heartbeatAgeSeconds >= 0 && heartbeatAgeSeconds < 60 && /^\d/.test(version), `${name} ${heartbeatAgeSeconds}`);
  const none = { database: null, state: 'none', since: null, code: null, words: null, hint: null };
  assert.deepEqual(
    document.items.map(({ shared }) => shared),
    [none, null, null],
  );
});

test('a parent that answers is heard, however long ago the link was made', async () => {
  const { site } = leaf as Node;
  const parent = (relay as Node).site.self.id;
  await touchServer(site.db, parent, site.now() - 3_600_000);
  await (leaf as Node).stop();
  await (leaf as Node).start();
  const heard = await eventually('the parent is heard', async () => {
    const found = (await viewServers((leaf as Node).site)).find(({ id }) => id === parent);
    return found !== undefined && !found.silent && found;
  });
  assert.ok((heard.heartbeatAgeSeconds ?? 3600) < 60, `${heard.heartbeatAgeSeconds} s ago`);
});

test('what a parent does for its children is refused for a server behind one, in words', async () => {
  for (const words of [
    ['pause', 'leaf'],
    ['priority', 'leaf', '5'],
    ['ring', 'leaf', '0'],
    ['revoke', 'leaf', '--yes'],
  ]) {
    const { code, document } = await runJson<{ error: { message: string } }>(['--data', (hq as Node).site.dataDir, 'server', ...words]);
    assert.deepEqual([code, document.error.message], [65, 'server leaf is behind relay, not a child of this server'], words[0]);
  }
});
