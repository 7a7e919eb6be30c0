import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseDisk } from '../../agent/steps/choose-disk.ts';
import { FIRST_BOOT_RECORD_BYTES } from '../../core/agent-protocol.ts';
import { inventoryOf, MIB } from './fixtures.ts';

const task = { imageName: 'demo@1', arch: 'amd64', bootType: 'bios', sizeBytes: 100 * MIB, sectorSize: 512, disk: null } as const;
const disk = (name: string, mib: number, rest: object = {}) => ({ name, sizeBytes: mib * MIB, sectorSize: 512, ...rest });
const machine = (...disks: ReturnType<typeof disk>[]) => inventoryOf({ sizeBytes: 0 }, { disks });

test('the smallest fixed disk that fits is taken', () => {
  const inventory = machine(disk('sda', 400), disk('sdb', 200), disk('sdc', 150, { removable: true }), disk('sdd', 90));
  assert.equal(chooseDisk(task, inventory).name, 'sdb');
});

test('a disk that the order names is taken, also a removable one', () => {
  const inventory = machine(disk('sda', 400), disk('sdb', 200, { removable: true }));
  assert.equal(chooseDisk({ ...task, disk: 'sdb' }, inventory).name, 'sdb');
});

test('the first-boot record must fit behind the image', () => {
  const exact = { name: 'sda', sizeBytes: 100 * MIB + FIRST_BOOT_RECORD_BYTES, sectorSize: 512 };
  assert.equal(chooseDisk(task, machine(exact)).name, 'sda');
  const short = { ...exact, sizeBytes: exact.sizeBytes - 512 };
  assert.throws(() => chooseDisk(task, machine(short)), { code: 'does_not_fit', message: /sda has 104922624 bytes, 104923136 are needed/ });
});

test('what does not fit is refused in words', () => {
  const refusals: [object, ReturnType<typeof inventoryOf>, RegExp][] = [
    [{}, inventoryOf({ sizeBytes: 900 * MIB }, { firmware: 'uefi' }), /boots with bios firmware, this machine was started by uefi/],
    [{ arch: 'arm64' }, machine(disk('sda', 900)), /is for arm64, this machine is amd64/],
    [{}, machine(disk('sda', 900, { sectorSize: 4096 })), /sda has sectors of 4096 bytes, the image was made for 512/],
    [{}, machine(), /has no fixed disk/],
    [{ disk: 'sdz' }, machine(disk('sda', 900)), /the order names disk sdz; this machine has sda/],
  ];
  for (const [change, inventory, message] of refusals) {
    assert.throws(() => chooseDisk({ ...task, ...change }, inventory), { code: 'does_not_fit', message });
  }
});

test('an image for both kinds of firmware, or for none, fits either', () => {
  for (const bootType of ['both', 'none'] as const) {
    for (const firmware of ['bios', 'uefi'] as const) {
      assert.equal(chooseDisk({ ...task, bootType }, inventoryOf({ sizeBytes: 900 * MIB }, { firmware })).name, 'vda');
    }
  }
});
