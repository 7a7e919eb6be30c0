import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chunkDigest } from '../../../core/content/frame.ts';
import { encodeRoot, parseRoot, type Root } from '../../../core/content/manifest.ts';
import { encodeTreeFile, parseTreePath } from '../../../core/content/tree-files.ts';
import type { AppError } from '../../../core/errors.ts';

const page = chunkDigest(Buffer.from('page'));
const disk: Root = {
  format: 1,
  kind: 'disk',
  sizeBytes: 1024,
  usedBytes: 512,
  disk: {
    sizeBytes: 1024,
    sectorSize: 512,
    bootType: 'bios',
    partitionTable: { scheme: 'mbr', partitions: [{ number: 1, startBytes: 512, sizeBytes: 512, type: '83' }] },
  },
  tree: { page, depth: 0, entries: 2 },
};
const engine: Root = {
  format: 1,
  kind: 'engine',
  sizeBytes: 0,
  usedBytes: 0,
  meta: { version: '1' },
  tree: null,
  files: { page, depth: 0, entries: 1 },
};

test('a root reads back as what was written, always in the same octets', () => {
  for (const root of [disk, engine]) {
    const octets = encodeRoot(root);
    assert.deepEqual(parseRoot(octets.toString()), root);
    assert.deepEqual(encodeRoot(parseRoot(octets.toString())), octets);
  }
});

test('anything but a root of this format is bad data', () => {
  const changes = [
    { format: 2 },
    { kind: 'tape' },
    { sizeBytes: -1 },
    { usedBytes: 1.5 },
    { tree: { page: 'sha256:xyz', depth: 0, entries: 1 } },
    { more: 1 },
  ];
  for (const change of changes) assert.throws(() => parseRoot(JSON.stringify({ ...disk, ...change })), { code: 'bad_data' });
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      assert.throws(
        () => parseRoot(text),
        (error: AppError) => error.code === 'bad_data',
      );
    }),
  );
});

test('paths of a tree stay inside it', () => {
  for (const path of ['a', 'boot/vmlinuz', 'a b/ü', '...']) assert.equal(parseTreePath(path), path);
  for (const path of ['', '/a', 'a/', 'a//b', '..', 'a/../b', '.', 'a/./b', 'a\0b', 'x'.repeat(5000)]) {
    assert.throws(() => parseTreePath(path), { code: 'bad_data' });
    assert.throws(() => encodeTreeFile({ path, mode: 0o644, sizeBytes: 1 }), { code: 'bad_data' });
  }
});
