import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { type ExtFile, readExtFiles } from '../../../core/content/ext/files.ts';
import type { ReadInto } from '../../../core/content/ext/volume.ts';
import { AppError } from '../../../core/errors.ts';
import { collect } from './collect.ts';
import { noise } from './make-disk.ts';

const KIB = 1024;

/** Files by path: small, large, sparse, empty; a folder with so many names that ext4 hashes them. */
function filesOfTree(): Map<string, Buffer> {
  const files = new Map<string, Buffer>([
    ['etc/hostname', Buffer.from('waystation\n')],
    ['usr/lib/libfoo.so.1.2', noise(3, 90_000)],
    ['var/big', noise(4, 1_500 * KIB)],
    ['var/empty', Buffer.alloc(0)],
  ]);
  for (let n = 0; n < 400; n++) files.set(`many/a-rather-long-name-of-a-file-${n}`, Buffer.from(`content ${n}`));
  return files;
}

function makeImage(t: TestContext, options: readonly string[]): { image: Buffer; files: Map<string, Buffer> } {
  const directory = mkdtempSync(join(tmpdir(), 'waystation-ext-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const files = filesOfTree();
  const tree = join(directory, 'tree');
  for (const [path, content] of files) {
    mkdirSync(join(tree, path, '..'), { recursive: true });
    writeFileSync(join(tree, path), content);
  }
  writeFileSync(join(tree, 'var/sparse'), 'begin');
  truncateSync(join(tree, 'var/sparse'), 700 * KIB);
  linkSync(join(tree, 'var/big'), join(tree, 'var/also-big'));
  symlinkSync('big', join(tree, 'var/link'));
  const image = join(directory, 'image');
  execFileSync('mke2fs', ['-q', '-F', ...options, '-d', tree, image, '12m'], { env: { PATH: `${process.env['PATH']}:/usr/sbin:/sbin` } });
  return { image: readFileSync(image), files };
}

function reading(image: Buffer): ReadInto {
  return async (room, offset) => image.copy(room, 0, Math.min(offset, image.length));
}

/** What the runs say the file holds; holes are zeros. */
function contentOf(image: Buffer, { sizeBytes, runs, blockBytes }: ExtFile): Buffer {
  const content = Buffer.alloc(Math.ceil(sizeBytes / blockBytes) * blockBytes);
  for (const { index, block, blocks } of runs) image.copy(content, index * blockBytes, block * blockBytes, (block + blocks) * blockBytes);
  return content.subarray(0, sizeBytes);
}

const KINDS: Record<string, readonly string[]> = {
  'ext4 with blocks of 4 KiB': ['-t', 'ext4', '-b', '4096'],
  'ext4 with blocks of 1 KiB and groups in their own places': ['-t', 'ext4', '-b', '1024', '-O', 'meta_bg,^resize_inode', '-g', '1024'],
  'ext4 with 32 bits and no flexible groups': ['-t', 'ext4', '-b', '2048', '-O', '^64bit,^flex_bg'],
  'ext3, whose maps are blocks of blocks': ['-t', 'ext3', '-b', '1024'],
  'ext2 of the first revision': ['-t', 'ext2', '-r', '0', '-b', '1024'],
};

for (const [kind, options] of Object.entries(KINDS)) {
  test(`files of ${kind} are found where they lie`, async (t) => {
    const { image, files } = makeImage(t, options);
    const found = new Map((await collect(readExtFiles(reading(image)))).map((file) => [file.path, file]));
    for (const [path, content] of files) {
      const file = found.get(path);
      assert.ok(file, `${path} is found`);
      assert.ok(contentOf(image, file).equals(content), `${path} holds what it held`);
    }
    assert.equal(found.get('var/also-big')?.inode, found.get('var/big')?.inode);
    assert.equal(found.get('var/sparse')?.sizeBytes, 700 * KIB);
    assert.ok(found.has('many/') && found.has('usr/lib/') && found.has('/'), 'directories have a stroke at their end');
    assert.ok(!found.has('var/link'));
  });
}

/** Files until it ends; bad data is an end too. */
async function readAny(image: Buffer): Promise<number> {
  let files = 0;
  try {
    for await (const { runs } of readExtFiles(reading(image))) {
      files += 1;
      for (const { block, blocks } of runs) assert.ok(block > 0 && blocks > 0);
    }
  } catch (error) {
    assert.ok(error instanceof AppError && error.code === 'bad_data', String(error));
  }
  return files;
}

test('a damaged file system gives files or bad data, in bounded time', async (t) => {
  const images = [makeImage(t, ['-t', 'ext4', '-b', '1024']).image, makeImage(t, ['-t', 'ext2', '-b', '1024']).image];
  const used = images.map((image) =>
    [...Array(image.length / KIB).keys()].filter((block) => image.subarray(block * KIB, (block + 1) * KIB).some((octet) => octet !== 0)),
  );
  const runs = Number(process.env['WAYSTATION_FUZZ_RUNS'] ?? 60);
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: 1 }),
      fc.array(fc.record({ block: fc.nat(), at: fc.nat({ max: KIB - 1 }), value: fc.nat({ max: 255 }), isMeta: fc.boolean() }), {
        minLength: 1,
        maxLength: 60,
      }),
      async (which, changes) => {
        const image = Buffer.from(images[which] ?? Buffer.alloc(0));
        const blocks = used[which] ?? [];
        // Half of the changes hit superblock, descriptors and the tables behind them.
        for (const { block, at, value, isMeta } of changes)
          image[(blocks[block % (isMeta ? Math.min(200, blocks.length) : blocks.length)] ?? 0) * KIB + at] = value;
        await readAny(image);
      },
    ),
    { numRuns: runs },
  );
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 4000, maxLength: 8000 }), async (octets) => void (await readAny(Buffer.from(octets)))),
    { numRuns: 50 },
  );
});

test('directories that contain themselves and maps that go round come to an end', async (t) => {
  const { image } = makeImage(t, ['-t', 'ext4', '-b', '1024']);
  const files = await collect(readExtFiles(reading(image)));
  const root = files.find(({ path }) => path === '/');
  assert.ok(root);
  // Every name of the root leads to the root.
  for (const { block, blocks } of root.runs) {
    for (let at = block * KIB; at < (block + blocks) * KIB; ) {
      if (image.readUInt32LE(at) !== 0) image.writeUInt32LE(2, at);
      at += image.readUInt16LE(at + 4) || KIB;
    }
  }
  assert.ok((await readAny(image)) <= 20);
});
