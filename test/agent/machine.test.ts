import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { orderWith, parseBootEntries, setNextBoot } from '../../agent/boot-order.ts';
import { parseCommandLine } from '../../agent/cmdline.ts';
import { openIdentity } from '../../agent/identity.ts';
import { readInventory } from '../../agent/inventory.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const PIN = `sha256:${'ab'.repeat(32)}`;
const BOOT = '01890000-0000-7000-8000-000000000000';

test('the kernel command line gives server, pin and boot id, among words of others', () => {
  const text = `BOOT_IMAGE=kernel ip=dhcp ws.url=https://10.0.2.2:8443/ quiet ws.pin=${PIN} ws.boot=${BOOT}\n`;
  assert.deepEqual(parseCommandLine(text), { url: 'https://10.0.2.2:8443', pin: PIN, bootId: BOOT });
});

test('a command line without a usable word is refused by the name of the word', () => {
  assert.throws(() => parseCommandLine(`ws.url=http://10.0.2.2 ws.pin=${PIN} ws.boot=${BOOT}`), { code: 'config', message: /ws\.url/ });
  assert.throws(() => parseCommandLine(`ws.url=https://10.0.2.2 ws.pin=sha256:12 ws.boot=${BOOT}`), { message: /ws\.pin/ });
  assert.throws(() => parseCommandLine(`ws.url=https://10.0.2.2 ws.pin=${PIN}`), { message: /ws\.boot/ });
});

test('an agent that is started again in the same boot has the same key, another boot has another', async () => {
  const folder = join(await temporaryDirectory('machine'), 'state');
  const first = await openIdentity(folder);
  assert.deepEqual(await openIdentity(folder), first);
  assert.notEqual((await openIdentity(`${folder}-2`)).keyId, first.keyId);
});

test('the inventory comes from sysfs; strings of the firmware are cleaned and cut', async () => {
  const root = await temporaryDirectory('machine');
  const put = async (path: string, text: string) => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  };
  await put('sys/class/dmi/id/product_uuid', '4C4C4544-0042-3510-8054-B7C04F4D3332\n');
  await put('sys/class/dmi/id/sys_vendor', `\u001b[31mEvil\u0000Corp${'x'.repeat(1000)}\n`);
  await put('sys/firmware/efi/fw_platform_size', '64\n');
  await put(
    'proc/cpuinfo',
    'processor\t: 0\nmodel name\t: Test CPU 1 GHz\nstepping\t: 2\n\nprocessor\t: 1\nmodel name\t: Test CPU 1 GHz\n',
  );
  await put('proc/meminfo', 'MemTotal:        2048 kB\nMemFree: 1 kB\n');
  await put('sys/block/nvme0n1/size', '2097152\n');
  await put('sys/block/nvme0n1/queue/logical_block_size', '4096\n');
  await put('sys/block/nvme0n1/queue/rotational', '0\n');
  await put('sys/block/nvme0n1/device/serial', '  S1  \n');
  await put('sys/block/loop0/size', '2097152\n');
  await put('sys/block/sr0/size', '2097152\n');
  await put('sys/class/net/eth0/address', '52:54:00:AA:BB:CC\n');
  await put('sys/class/net/eth0/type', '1\n');
  await put('sys/class/net/eth0/device/vendor', '0x1af4\n');
  await symlink('../../../../bus/virtio_net', join(root, 'sys/class/net/eth0/device/driver'));
  await put('sys/class/net/lo/address', '00:00:00:00:00:00\n');
  await put('sys/class/net/lo/type', '772\n');
  await put('sys/bus/pci/devices/0000:00:01.0/class', '0x020000\n');
  const inventory = await readInventory(root);
  assert.equal(inventory.uuid, '4c4c4544-0042-3510-8054-b7c04f4d3332');
  assert.equal(inventory.manufacturer?.length, 256);
  assert.match(inventory.manufacturer ?? '', /^\[31mEvil Corpx+$/);
  assert.equal(inventory.firmware, 'uefi');
  assert.deepEqual(inventory.cpu, { model: 'Test CPU 1 GHz', count: 2 });
  assert.equal(inventory.memoryBytes, 2 * 1024 * 1024);
  const disk = { name: 'nvme0n1', sizeBytes: 2 ** 30, sectorSize: 4096, serial: 'S1', removable: false, rotational: false };
  assert.deepEqual(inventory.disks, [disk]);
  assert.deepEqual(inventory.nics, [{ name: 'eth0', mac: '52:54:00:aa:bb:cc', driver: 'virtio_net' }]);
  assert.deepEqual(inventory.pci, [{ slot: '0000:00:01.0', class: '0x020000', vendor: 'unknown', device: 'unknown' }]);
});

const BOOT_LIST = `BootCurrent: 0003
Timeout: 0 seconds
BootOrder: 0001,0003,0002
Boot0001* UiApp\tFvVol(7cb8)
Boot0002* UEFI Misc Device\tPciRoot(0x0)
Boot0003* UEFI PXEv4 (MAC:525400000001)\tPciRoot(0x0)
Boot0004  Waystation disk\tHD(1,GPT)
`;

test('our boot entry stands right behind the one that booted us', () => {
  const boot = parseBootEntries(BOOT_LIST);
  assert.equal(boot.current, '0003');
  assert.deepEqual(orderWith(boot, '0004'), ['0001', '0003', '0004', '0002']);
  assert.deepEqual(orderWith({ ...boot, current: undefined }, '0004'), ['0001', '0003', '0002', '0004']);
});

test('an old entry of ours is taken away, the new one is the next boot, the network stays first', async () => {
  const calls: string[] = [];
  await setNextBoot(
    'vda',
    2,
    async (program, args) => {
      calls.push([program, ...args].join(' '));
      return args.length === 0 ? BOOT_LIST : '';
    },
    'x64',
  );
  assert.deepEqual(calls, [
    'efibootmgr',
    'efibootmgr -q -b 0004 -B',
    'efibootmgr -q -C -d /dev/vda -p 2 -L Waystation disk -l \\EFI\\BOOT\\BOOTX64.EFI',
    'efibootmgr',
    'efibootmgr -q -o 0001,0003,0004,0002',
    'efibootmgr -q -n 0004',
  ]);
});
