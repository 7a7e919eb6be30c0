import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { type BranchView, Ledger } from '../helpers/power/ledger.ts';
import { serveDisk } from '../helpers/power/nbd-server.ts';
import { SECTOR_BYTES, VolatileDisk } from '../helpers/power/volatile-disk.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';

/** What the power cuts (test/e2e/power-cuts.test.ts) rely on: that a loss would be seen, and that the disk can lose something. */

const WHOLE: BranchView = {
  targets: [{ id: 't1', group: 'tills' }],
  orders: [{ id: 'o1', targetId: 't1', state: 'stopped' }],
  documents: [{ name: 'counter', revision: 3, value: 'three' }],
  images: [{ reference: 'disk@1', manifest: 'm1', state: 'published' }],
  generation: 7,
};

describe('the ledger of what a branch acknowledged', () => {
  const ledger = new Ledger();
  ledger.target({ id: 't1', group: 'tills' });
  ledger.order({ id: 'o1', state: 'stopped' });
  ledger.document({ name: 'counter', revision: 3, value: 'three' });
  ledger.image({ reference: 'disk@1', manifest: 'm1' });
  ledger.run({ generation: 7 });

  it('finds nothing where all is there, and more of it than was acknowledged', () => {
    assert.equal(ledger.acknowledged, 5);
    assert.deepEqual(ledger.compare(WHOLE), { lost: [], doubled: [] });
    const more = { ...WHOLE, documents: [{ name: 'counter', revision: 4, value: 'four' }], generation: 9 };
    assert.deepEqual(ledger.compare(more), { lost: [], doubled: [] });
  });

  const losses: readonly [string, Partial<BranchView>, RegExp][] = [
    ['a target', { targets: [] }, /^target t1$/],
    ['a group', { targets: [{ id: 't1', group: null }] }, /^group tills of target t1$/],
    ['an order', { orders: [] }, /^order o1$/],
    [
      'an order that is back in an earlier state',
      { orders: [{ id: 'o1', targetId: 't1', state: 'activated' }] },
      /^order o1 was stopped, it is activated$/,
    ],
    ['a document', { documents: [] }, /^document counter in revision 3$/],
    ['an older revision', { documents: [{ name: 'counter', revision: 2, value: 'two' }] }, /^document counter in revision 3$/],
    [
      'other content in the same revision',
      { documents: [{ name: 'counter', revision: 3, value: '' }] },
      /^document counter: "three" became ""$/,
    ],
    ['an image', { images: [] }, /^image disk@1 m1: it is undefined$/],
    [
      'an image that is not published any more',
      { images: [{ reference: 'disk@1', manifest: 'm1', state: 'arriving' }] },
      /it is arriving$/,
    ],
    ['an earlier generation', { generation: 6 }, /^generation 7 was published, it is 6$/],
  ];
  for (const [what, change, words] of losses) {
    it(`names ${what}`, () => {
      const { lost, doubled } = ledger.compare({ ...WHOLE, ...change });
      assert.equal(lost.length, 1, lost.join('; '));
      assert.match(lost[0] ?? '', words);
      assert.deepEqual(doubled, []);
    });
  }

  it('names what was done twice', () => {
    const again = { id: 'o2', targetId: 't1', state: 'activated' };
    assert.deepEqual(ledger.compare({ ...WHOLE, orders: [...WHOLE.orders, again] }).doubled, ['the order of target t1']);
  });
});

describe('a disk with a write cache', () => {
  const filled = (octet: number, sectors = 1) => Buffer.alloc(sectors * SECTOR_BYTES, octet);

  it('loses what was not flushed, each sector by itself, and keeps what was', async () => {
    const path = join(await temporaryDirectory('disk'), 'disk.raw');
    await writeFile(path, filled(0, 4));
    const disk = new VolatileDisk(path);
    disk.write(0, filled(1, 4));
    disk.flush();
    disk.write(SECTOR_BYTES, filled(2, 3));
    disk.write(10, Buffer.from([9]));
    assert.deepEqual(disk.read(0, 12), Buffer.from([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 9, 1]));
    const survivors = [true, false, true, false];
    disk.cut(() => survivors.shift() ?? false);
    assert.equal(disk.figures.lostSectors, 2);
    const left = await readFile(path);
    assert.deepEqual(
      [0, 1, 2, 3].map((sector) => left[sector * SECTOR_BYTES + 20]),
      [1, 2, 1, 2],
    );
    assert.equal(left[10], 1);
    disk.close();
  });

  it('takes writes and flushes of QEMU’s own client, and does nothing more when the power is gone', async () => {
    const root = await temporaryDirectory('disk');
    const [path, socket] = [join(root, 'disk.raw'), join(root, 'disk.sock')];
    await writeFile(path, filled(0, 256));
    const disk = new VolatileDisk(path);
    const server = await serveDisk(disk, socket);
    const url = `nbd+unix:///?socket=${socket}`;
    try {
      await promisify(execFile)('qemu-io', [
        '-t',
        'writeback',
        '-f',
        'raw',
        url,
        '-c',
        'write -P 0x11 0 64k',
        '-c',
        'flush',
        '-c',
        'read -P 0x11 0 64k',
      ]);
      const client = spawn(
        'qemu-io',
        ['-t', 'writeback', '-f', 'raw', url, '-c', 'write -P 0x22 64k 64k', '-c', 'sleep 60000', '-c', 'flush'],
        {
          stdio: 'ignore',
        },
      );
      await waitUntil('it is written', async () => disk.read(65_536, 1)[0] === 0x22, { limitMs: 20_000, everyMs: 20, despiteErrors: true });
      disk.cut(() => false);
      client.kill('SIGKILL');
      await once(client, 'exit');
      const left = await readFile(path);
      assert.ok(left.subarray(0, 65_536).every((octet) => octet === 0x11));
      assert.ok(left.subarray(65_536).every((octet) => octet === 0));
      assert.equal(disk.figures.lostSectors, 16);
    } finally {
      await server.close();
      disk.close();
    }
  });
});
