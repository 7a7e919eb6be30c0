import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunkDigest } from '../../../core/content/frame.ts';
import type { BuiltArchive } from '../../../core/content-store.ts';
import type { Digest } from '../../../core/ids.ts';
import { SYNC_PROTOCOL } from '../../../core/sync-protocol.ts';
import { offerArchive } from '../../../server/replication/archive-shelf.ts';
import { openBootSite } from '../../helpers/boot-site.ts';
import { waitUntil } from '../../helpers/wait-until.ts';

const SECRET = chunkDigest(Buffer.from('a chunk of an image that is not published'));

test('a child may not fish for content by digest: neither manifests that are not published nor single chunks', async (t) => {
  const { site, close } = await openBootSite();
  t.after(close);
  const missingOf = async () => ({ chunks: 0, rawBytes: 0, complete: [] });
  const buildArchive = async () => assert.fail('nothing is to be built');
  const [ownersOf, lackingOf] = [async () => [], async () => []];
  const asked = { ...site, store: { ...site.store, missingOf, buildArchive, ownersOf, lackingOf } };
  const request = { protocol: SYNC_PROTOCOL, have: [], want: [] };
  await assert.rejects(offerArchive(asked, { ...request, want: [SECRET] }, 'child'), { code: 'not_found' });
  await assert.rejects(offerArchive(asked, { ...request, wantChunks: [SECRET] }, 'child'), { code: 'not_permitted' });
});

test('a child has one archive built at a time, what it asked first; others do not wait for it', async (t) => {
  const { site, close } = await openBootSite();
  t.after(close);
  const building: { have: readonly string[]; end: () => void }[] = [];
  const buildArchive = ({ have }: { have: readonly Digest[] }) =>
    new Promise<BuiltArchive>((resolve) => {
      building.push({ have, end: () => resolve({ key: have.join().slice(7), directory: '/nowhere', parts: [] }) });
    });
  const missingOf = async (have: readonly Digest[]) => ({ chunks: 0, rawBytes: 0, complete: [...have] });
  const busy = { ...site, store: { ...site.store, missingOf, buildArchive } };
  const [a, b, c] = ['a', 'b', 'c'].map((name) => chunkDigest(Buffer.from(name))) as [Digest, Digest, Digest];
  const ask = (asker: string, have: Digest) => offerArchive(busy, { protocol: SYNC_PROTOCOL, have: [have], want: [] }, asker);
  const begun = (count: number) => waitUntil(`${count} are built`, () => building.length === count, { state: () => building });
  const first = ask('greedy', a);
  await begun(1);
  assert.deepEqual(await ask('greedy', b), {
    key: (await ask('greedy', b)).key,
    state: 'building',
    doneBytes: 0,
    totalBytes: 0,
    parts: [],
  });
  const other = ask('modest', c);
  await begun(2);
  assert.deepEqual(
    building.map(({ have }) => have),
    [[a], [c]],
  );
  for (const { end } of building) end();
  assert.deepEqual([(await first).state, (await other).state], ['ready', 'ready']);
  const second = ask('greedy', b);
  await begun(3);
  building[2]?.end();
  assert.equal((await second).state, 'ready');
});
