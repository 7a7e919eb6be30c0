import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Id } from '../../core/ids.ts';
import { movesOf, type PromotionServer, topAbove } from '../../core/promotion.ts';

/** `name: parent` of servers that meet; the id is the name. A name with `*` has its parent by a token, which nobody wished. */
function tree(parents: Record<string, string | null>): PromotionServer[] {
  return Object.entries(parents).map(([key, parent]) => {
    const isByToken = key.endsWith('*');
    const name = key.replace('*', '');
    const wished = { parentId: isByToken ? null : (parent as Id | null), parentRevision: isByToken ? 0 : 1 };
    return { id: name as Id, name, state: 'active', ...wished, parentBy: 'operator', parentFile: null, linkedTo: parent as Id | null };
  });
}

const moves = (servers: PromotionServer[], successor: string, lost: string) => {
  const [one, other] = [successor, lost].map((name) => servers.find((server) => server.name === name)) as [
    PromotionServer,
    PromotionServer,
  ];
  return movesOf(servers, one, other).map(({ server, from, to }) => `${server}: ${from} -> ${to}`);
};

test('the one at the top above a server is found, also over parents that were joined with a token', () => {
  const servers = tree({ hq: null, relay: 'hq', 'branch*': 'relay', alone: null, odd: 'stranger' });
  const top = (name: string) => topAbove(servers, servers.find((server) => server.name === name) as PromotionServer)?.name;
  assert.deepEqual(['branch', 'relay', 'hq', 'alone', 'odd'].map(top), ['hq', 'hq', undefined, undefined, undefined]);
});

test('a circle of wishes ends the way up', () => {
  const servers = tree({ a: 'b', b: 'a' });
  assert.equal(topAbove(servers, servers[0] as PromotionServer)?.name, 'b');
});

test('who takes the place of the master gets all of its children, and whoever stood between them', () => {
  assert.deepEqual(moves(tree({ hq: null, north: 'hq', south: 'hq', 'west*': 'hq', deep: 'north' }), 'north', 'hq'), [
    'north: hq -> null',
    'south: hq -> north',
    'west: hq -> north',
  ]);
  assert.deepEqual(moves(tree({ hq: null, relay: 'hq', branch: 'relay', other: 'relay' }), 'branch', 'hq'), [
    'relay: hq -> branch',
    'branch: relay -> null',
  ]);
});

test('who takes the place of a relay stands where that one stood; who stands above it stays there', () => {
  const servers = tree({ hq: null, relay: 'hq', branch: 'relay', other: 'relay', spare: null });
  assert.deepEqual(moves(servers, 'spare', 'relay'), ['branch: relay -> spare', 'other: relay -> spare', 'spare: null -> hq']);
  assert.deepEqual(moves(servers, 'hq', 'relay'), ['branch: relay -> hq', 'other: relay -> hq']);
});

test('servers that left are not moved', () => {
  const servers = tree({ hq: null, north: 'hq', south: 'hq' }).map((one) =>
    one.name === 'south' ? { ...one, state: 'retired' as const } : one,
  );
  assert.deepEqual(moves(servers, 'north', 'hq'), ['north: hq -> null']);
});
