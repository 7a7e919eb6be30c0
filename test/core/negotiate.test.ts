import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commonProtocol, encodingsFor } from '../../core/negotiate.ts';
import { ArchiveRequest } from '../../core/sync-protocol.ts';

test('two releases speak the newest protocol that both know, or none', () => {
  const speaks = (oldest: number, newest: number) => ({ oldest, newest });
  assert.equal(commonProtocol(speaks(1, 1), speaks(1, 1)), 1);
  assert.equal(commonProtocol(speaks(1, 3), speaks(1, 2)), 2);
  assert.equal(commonProtocol(speaks(1, 2), speaks(2, 5)), 2);
  assert.equal(commonProtocol(speaks(1, 1), speaks(2, 3)), undefined);
  assert.equal(commonProtocol(speaks(3, 4), speaks(1, 2)), undefined);
});

test('a child that names no encodings gets plain frames, and words that nobody knows yet do no harm', () => {
  const request = { protocol: 1, have: [], want: [] };
  assert.deepEqual(encodingsFor(ArchiveRequest.parse(request).encodings), ['raw', 'zstd']);
  const newer = ArchiveRequest.parse({ ...request, encodings: ['raw', 'zstd', 'zstd-base', 'brotli-4'] });
  assert.deepEqual(encodingsFor(newer.encodings), ['raw', 'zstd', 'zstd-base']);
  assert.deepEqual(encodingsFor(['brotli-4']), ['raw', 'zstd']);
});
