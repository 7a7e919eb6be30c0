import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunkDigest } from '../../../core/content/frame.ts';
import { SYNC_PROTOCOL } from '../../../core/sync-protocol.ts';
import { offerArchive } from '../../../server/replication/archive-shelf.ts';
import { openBootSite } from '../../helpers/boot-site.ts';

const SECRET = chunkDigest(Buffer.from('a chunk of an image that is not published'));

test('a child may not fish for content by digest: neither manifests that are not published nor single chunks', async (t) => {
  const { site, close } = await openBootSite();
  t.after(close);
  const missingOf = async () => ({ chunks: 0, rawBytes: 0, complete: [] });
  const buildArchive = async () => assert.fail('nothing is to be built');
  const [ownersOf, lackingOf] = [async () => [], async () => []];
  const asked = { ...site, store: { ...site.store, missingOf, buildArchive, ownersOf, lackingOf } };
  const request = { protocol: SYNC_PROTOCOL, have: [], want: [] };
  await assert.rejects(offerArchive(asked, { ...request, want: [SECRET] }), { code: 'not_found' });
  await assert.rejects(offerArchive(asked, { ...request, wantChunks: [SECRET] }), { code: 'not_permitted' });
});
