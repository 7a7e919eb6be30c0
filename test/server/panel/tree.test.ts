import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Json } from '../../../core/canonical-json.ts';
import { type Id, type Name, newId } from '../../../core/ids.ts';
import { putOrigin } from '../../../server/db/origins.ts';
import { type Peer, putPeer } from '../../../server/db/peers.ts';
import { putReported } from '../../../server/db/reported.ts';
import { contactOf, noteAnswer, noteConnection, noteFailure } from '../../../server/panel/contact.ts';
import { readServerTree } from '../../../server/panel/tree.ts';
import { revokeServer } from '../../../server/servers.ts';
import type { Shared } from '../../../server/shared/open.ts';
import type { SharedState } from '../../../server/shared/state.ts';
import { joinChild } from '../api/callers.ts';
import { openTestSite, type TestSite } from '../api/site.ts';

const ALL = { mayReplicate: true, mayWriteServers: true, mayMakeArchives: true, mayLoad: true };
const NONE = { mayReplicate: false, mayWriteServers: false, mayMakeArchives: false, mayLoad: false };
let hq: TestSite;

before(async () => {
  hq = await openTestSite();
});
after(() => hq.close());

async function report(origin: Id, name: string, change: Record<string, Json> = {}, seq = 1): Promise<void> {
  const at = new Date(hq.site.now()).toISOString();
  const body = {
    id: origin,
    name,
    version: '0.1.0',
    at,
    startedAt: at,
    disk: { freeBytes: 1, totalBytes: 2 },
    images: [],
    run: null,
    settings: {},
    alarms: [],
    ...change,
  };
  await putReported(hq.site.db, { origin, kind: 'server', subject: origin, seq, body, at: hq.site.now() });
}

async function behind(name: string, via: Id, change: Record<string, Json> = {}): Promise<Id> {
  const id = newId();
  await putOrigin(hq.site.db, { id, via, seenAt: hq.site.now() });
  await report(id, name, change);
  return id;
}

const link = (parentId: string, change = {}): Json => ({
  parentId,
  schedule: '0 2 * * *',
  nextRunAt: null,
  lastRunAt: null,
  paused: null,
  ...change,
});

async function treeBy<Value>(
  pick: (server: Awaited<ReturnType<typeof readServerTree>>['items'][number]) => Value,
  rights = ALL,
): Promise<Record<string, Value>> {
  const tree = await readServerTree(hq.site, rights);
  return Object.fromEntries(tree.items.map((server) => [server.name, pick(server)]));
}

test('servers stand where they say they do; who says a circle or nothing stands below what passes its reports on, or below us', async () => {
  const relay = await joinChild(hq.site, 'relay');
  await report(relay.id, 'relay', { link: link(hq.site.self.id) });
  const store = await behind('store', relay.id, { link: link(relay.id) });
  await behind('kiosk', relay.id, { link: link(store) });
  await behind('old-release', relay.id);
  const [one, other] = [newId(), newId()];
  for (const [id, name, parent] of [
    [one, 'circle-1', other],
    [other, 'circle-2', one],
  ] as const) {
    await putOrigin(hq.site.db, { id, via: relay.id, seenAt: hq.site.now() });
    await report(id, name, { link: link(parent) });
  }
  const names = new Map((await readServerTree(hq.site, ALL)).items.map(({ id, name }) => [id, name]));
  assert.deepEqual(await treeBy(({ parentId, role }) => [names.get(parentId ?? '') ?? null, role]), {
    hq: [null, 'master'],
    relay: ['hq', 'both'],
    store: ['relay', 'both'],
    kiosk: ['store', 'slave'],
    'old-release': ['relay', 'slave'],
    'circle-1': ['hq', 'slave'],
    'circle-2': ['hq', 'slave'],
  });
});

test('a new report is read, and one of another shape is no news of its server', async () => {
  const branch = await joinChild(hq.site, 'branch');
  const gone = noteConnection(hq.site, branch.id);
  await report(branch.id, 'branch', {
    images: [
      { reference: 'a@1', state: 'published' },
      { reference: 'b@1', state: 'known', missingBytes: 7 },
      { reference: 'c@1', state: 'known', wanted: false },
    ],
  });
  const seen = () => treeBy(({ images, health }) => [images, health.level]);
  assert.deepEqual((await seen())['branch'], [{ wanted: 2, held: 1, failing: 0, missingBytes: 7 }, 'notice']);
  await report(branch.id, 'branch', { images: [{ reference: 'a@1', state: 'published' }], alarms: ['disk is full'] }, 2);
  assert.deepEqual((await seen())['branch'], [{ wanted: 1, held: 1, failing: 0, missingBytes: 0 }, 'problem']);
  await report(branch.id, 'branch', { images: 'none' }, 3);
  assert.deepEqual((await seen())['branch'], [null, 'warning'], 'what it says cannot be read');
  gone();
  assert.equal((await seen())['branch']?.[1], 'warning', 'its last connection has closed');
});

test('a parent is connected while it answers; an outage has its words and begins with its first failure', () => {
  const parent = newId();
  const clock = { wake: hq.site.wake, now: () => at };
  let at = 1000;
  const seen = () => contactOf(clock, parent, 'parent');
  assert.equal(seen(), undefined);
  noteAnswer(clock, parent);
  assert.deepEqual(seen(), { isConnected: true, heardAt: 1000, failure: null });
  for (at of [2000, 3000]) noteFailure(clock, parent, { code: 'unreachable', message: `no answer at ${at}` });
  assert.deepEqual(seen(), {
    isConnected: false,
    heardAt: 1000,
    failure: { code: 'unreachable', words: 'no answer at 3000', since: 2000 },
  });
  noteAnswer(clock, parent);
  assert.deepEqual(seen(), { isConnected: true, heardAt: 3000, failure: null });
});

test('how it stands with the database where servers meet is said, and since when it is away', async () => {
  const where = 'database "ws" at db';
  const seen = async (state: SharedState) => {
    const shared = { where, state: () => state } as Shared;
    const { items } = await readServerTree({ ...hq.site, shared }, NONE);
    return items
      .find(({ relation }) => relation === 'self')
      ?.health.findings.map(({ level, words, since }) => [level, words.split(/[:;]/)[0], since]);
  };
  const now = hq.site.now();
  const away = (since: number): SharedState => ({ state: 'unreachable', since, code: 'unreachable', words: 'refused', hint: null });
  assert.deepEqual(await seen(away(now)), [['warning', `the shared ${where} is unreachable`, new Date(now).toISOString()]]);
  assert.equal((await seen(away(now - 1_000_000)))?.[0]?.[0], 'problem');
  assert.deepEqual(await seen({ state: 'connected', since: 1, problem: 'another server has this name' }), [
    ['problem', 'another server has this name', null],
  ]);
  assert.deepEqual(await seen({ state: 'connected', since: 1, problem: null }), [['notice', `meets the others in the ${where}`, null]]);
});

test('what is offered is what who asks may do and what makes sense there', async () => {
  assert.deepEqual(
    Object.values(await treeBy(({ can }) => can.length, NONE)).filter((count) => count > 0),
    [],
  );
  const can = await treeBy((server) => server.can);
  assert.deepEqual(can['hq'], ['archive', 'load', 'join']);
  assert.deepEqual(can['relay'], ['replicate', 'pause', 'archive']);
  assert.deepEqual(can['kiosk'], ['replicate', 'archive']);
  await meet('relay', null);
  assert.deepEqual(
    (await meetingTree()).filter(({ can }) => can.includes('parent')).map(({ name }) => name),
    ['hq', 'relay'],
    'where servers meet, those get a parent that do',
  );
});

const meetingTree = async () => {
  const shared = { where: 'database', state: () => ({ state: 'unknown' }) } as Shared;
  return (await readServerTree({ ...hq.site, shared }, ALL)).items;
};

/** A server that was met in the database, as its row there wishes. */
async function meet(name: string, parent: string | null, state: Peer['state'] = 'active'): Promise<Id> {
  const all = await meetingTree();
  const idOf = (wanted: string | null) => all.find((one) => one.name === wanted)?.id as Id | undefined;
  const id = idOf(name) ?? newId();
  const { caPin, signer } = hq.site.keys;
  const wish = { parentId: idOf(parent) ?? null, parentRevision: parent === null ? 0 : 1, parentBy: null, revision: 1 };
  await putPeer(hq.site.db, { id, name: name as Name, state, url: null, caPin, signer, ...wish }, hq.site.now());
  return id;
}

test('servers that only the registry tells of stand where it wishes them: at the top without a wish, in no circle', async () => {
  await meet('beside', null);
  await meet('below-it', 'beside');
  await meet('below-us', 'hq');
  await meet('gone', 'hq', 'retired');
  await meet('ring-1', null);
  await meet('ring-2', 'ring-1');
  await meet('ring-1', 'ring-2');
  const places = Object.fromEntries((await meetingTree()).map(({ name, relation, parent, role }) => [name, [relation, parent, role]]));
  const pick = ['beside', 'below-it', 'below-us', 'gone', 'ring-1', 'ring-2'].map((name) => [name, ...(places[name] ?? [])]);
  assert.deepEqual(pick, [
    ['beside', 'peer', null, 'master'],
    ['below-it', 'peer', 'beside', 'slave'],
    ['below-us', 'peer', 'hq', 'slave'],
    ['gone', 'peer', null, 'alone'],
    ['ring-1', 'peer', null, 'alone'],
    ['ring-2', 'peer', null, 'alone'],
  ]);
});

test('a child that the registry has below another now stands there, and one that was revoked by an operator stays revoked', async () => {
  const moved = await joinChild(hq.site, 'moved');
  const thrown = await joinChild(hq.site, 'thrown-out');
  for (const name of ['moved', 'thrown-out']) await meet(name, 'relay');
  await meet('thrown-out', 'hq');
  for (const { id } of [moved, thrown]) await revokeServer(hq.site, id, 'test');
  const places = Object.fromEntries((await meetingTree()).map(({ name, relation, parent, state }) => [name, [relation, parent, state]]));
  assert.deepEqual(places['moved'], ['peer', 'relay', 'active']);
  assert.deepEqual(places['thrown-out'], ['child', 'hq', 'revoked']);
});
