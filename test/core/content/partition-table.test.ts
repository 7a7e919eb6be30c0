import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkPartitionsFit, readLayout, regionStarts } from '../../../core/content/partition-table.ts';
import { AppError } from '../../../core/errors.ts';
import { BIOS_BOOT, ESP, gptDisk, LINUX, writeGpt, writeMbr } from './make-disk.ts';

const MIB = 1024 * 1024;

function layoutOf(disk: Buffer, sectorSize?: number): ReturnType<typeof readLayout> {
  return readLayout(async (offset, length) => disk.subarray(offset, offset + length), sectorSize);
}

test('a GPT with sectors of 512 octets is read with types, names and places', async () => {
  const layout = await layoutOf(gptDisk(8, 1));
  assert.equal(layout.sectorSize, 512);
  assert.equal(layout.partitionTable.scheme, 'gpt');
  assert.deepEqual(layout.partitionTable.partitions, [
    { number: 1, startBytes: MIB, sizeBytes: 2 * MIB, type: ESP, name: 'EFI' },
    { number: 2, startBytes: 3 * MIB, sizeBytes: 5 * MIB - 34 * 512, type: LINUX, name: 'root' },
  ]);
});

test('a GPT header at byte 4096 means sectors of 4096 octets', async () => {
  const layout = await layoutOf(gptDisk(8, 1, 4096));
  assert.equal(layout.sectorSize, 4096);
  assert.equal(layout.partitionTable.partitions[0]?.startBytes, MIB);
});

test('a damaged GPT is refused: header, entries, or no header where the MBR announces one', async () => {
  for (const [at, message] of [
    [512 + 40, /damaged header/],
    [1024 + 3, /damaged list/],
    [512, /announces a GPT/],
  ] as const) {
    const disk = gptDisk(4, 1);
    disk[at] = (disk[at] ?? 0) ^ 1;
    await assert.rejects(layoutOf(disk), (error: AppError) => error.code === 'bad_data' && message.test(error.message));
  }
});

test('primary and logical partitions of an MBR are found', async () => {
  const disk = Buffer.alloc(8 * MIB);
  writeMbr(disk, [
    { type: 0x83, start: 2048, sectors: 2048, active: true },
    { type: 0x05, start: 4096, sectors: 8192 },
  ]);
  writeMbr(
    disk,
    [
      { type: 0x82, start: 1, sectors: 100 },
      { type: 0x05, start: 1000, sectors: 500 },
    ],
    4096 * 512,
  );
  writeMbr(disk, [{ type: 0x83, start: 2, sectors: 200 }], 5096 * 512);
  const { partitionTable, bootType } = await layoutOf(disk);
  assert.deepEqual(
    partitionTable.partitions.map(({ number, startBytes, sizeBytes, type }) => [number, startBytes / 512, sizeBytes / 512, type]),
    [
      [1, 2048, 2048, '83'],
      [5, 4097, 100, '82'],
      [6, 5098, 200, '83'],
    ],
  );
  assert.equal(bootType, 'none', 'an active partition without boot code does not boot');
});

test('a chain of logical partitions that loops is refused', async () => {
  const disk = Buffer.alloc(4 * MIB);
  writeMbr(disk, [{ type: 0x05, start: 2048, sectors: 4096 }]);
  writeMbr(
    disk,
    [
      { type: 0x83, start: 1, sectors: 10 },
      { type: 0x05, start: 100, sectors: 10 },
    ],
    2048 * 512,
  );
  writeMbr(
    disk,
    [
      { type: 0x83, start: 1, sectors: 10 },
      { type: 0x05, start: 100, sectors: 10 },
    ],
    2148 * 512,
  );
  await assert.rejects(layoutOf(disk), { code: 'bad_data' });
});

test('the boot type follows boot code, active partition, BIOS boot partition and EFI system partition', async () => {
  const withCode = (disk: Buffer): Buffer => {
    Buffer.from([0x33, 0xc0, 0x8e, 0xd0]).copy(disk);
    return disk;
  };
  const gpt = (...types: string[]): Buffer => {
    const disk = Buffer.alloc(4 * MIB);
    writeGpt(
      disk,
      512,
      types.map((type, index) => ({ first: 2048 + index * 1024, last: 2048 + index * 1024 + 1023, type })),
    );
    return disk;
  };
  const mbr = (type: number, active: boolean): Buffer => {
    const disk = Buffer.alloc(4 * MIB);
    writeMbr(disk, [{ type, start: 2048, sectors: 2048, active }]);
    return disk;
  };
  const bootType = async (disk: Buffer): Promise<string> => (await layoutOf(disk)).bootType;
  assert.equal(await bootType(gpt(LINUX)), 'none');
  assert.equal(await bootType(gpt(ESP, LINUX)), 'uefi');
  assert.equal(await bootType(withCode(gpt(BIOS_BOOT, LINUX))), 'bios');
  assert.equal(await bootType(withCode(gpt(BIOS_BOOT, ESP, LINUX))), 'both');
  assert.equal(await bootType(withCode(mbr(0x83, true))), 'bios');
  assert.equal(await bootType(withCode(mbr(0x83, false))), 'none');
  assert.equal(await bootType(mbr(0xef, false)), 'uefi');
});

test('a bare file system is a disk; noise, zeros and text are not', async () => {
  const ext = Buffer.alloc(MIB);
  ext.writeUInt16LE(0xef53, 0x438);
  assert.deepEqual((await layoutOf(ext)).partitionTable, { scheme: 'none', partitions: [] });
  const vfat = Buffer.alloc(MIB, 0x90);
  vfat.write('FAT32', 0x52, 'latin1');
  vfat.writeUInt16LE(0xaa55, 510);
  assert.equal((await layoutOf(vfat)).partitionTable.scheme, 'none');
  for (const other of [Buffer.alloc(MIB), Buffer.alloc(100), Buffer.alloc(MIB, 'not a disk '), Buffer.alloc(0)]) {
    await assert.rejects(layoutOf(other), (error: AppError) => error.code === 'bad_data' && error.message.startsWith('not a disk image'));
  }
});

test('a partition beyond the end says that the image was cut off', async () => {
  const { partitionTable } = await layoutOf(gptDisk(8, 1));
  assert.throws(() => checkPartitionsFit(partitionTable.partitions, 4 * MIB), /cut off: partition 2 ends at byte 8371200/);
});

test('regions begin at 0 and at the edges of partitions', () => {
  const at = (startBytes: number, sizeBytes: number) => ({ number: 1, startBytes, sizeBytes, type: '83' });
  assert.deepEqual(regionStarts([at(100, 50), at(150, 10), at(400, 1)]), [0, 100, 150, 160, 400, 401]);
});

test('any octets in table and headers give a layout or bad data', async () => {
  const disks = [gptDisk(4, 1), gptDisk(4, 1, 4096)];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...disks),
      fc.array(fc.tuple(fc.integer({ min: 0, max: 20_000 }), fc.integer({ min: 0, max: 255 })), { maxLength: 20 }),
      async (disk, changes) => {
        const changed = Buffer.from(disk.subarray(0, 128 * 1024));
        for (const [at, value] of changes) changed[at] = value;
        try {
          await layoutOf(changed);
        } catch (error) {
          assert.ok(error instanceof AppError && error.code === 'bad_data', String(error));
        }
      },
    ),
    { numRuns: 300 },
  );
});
