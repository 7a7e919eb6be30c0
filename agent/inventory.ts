import { arch as nodeArch } from 'node:process';
import { Inventory } from '../core/agent-protocol.ts';
import { AppError } from '../core/errors.ts';
import { linkName, listFolder, readFact, readNumber, withoutAbsent } from './sysfs.ts';

/** sysfs counts block devices in units of 512 octets, whatever their logical sectors are. */
const SYSFS_SECTOR_BYTES = 512;
/** Not disks of the machine: memory, images of files, floppies, optical drives, and what is made of other disks. */
const NO_DISKS = /^(loop|ram|zram|fd|sr|dm-|md|nbd|mtdblock)/;

/**
 * What the machine is made of, from /sys and /proc below `root` (`/` in the engine, a folder in tests).
 * Strings are the machine's own words, bounded in length, not to be trusted.
 */
export async function readInventory(root = '/'): Promise<Inventory> {
  const sys = `${root}/sys`;
  const dmi = (name: string) => readFact(`${sys}/class/dmi/id/${name}`);
  return Inventory.parse(
    withoutAbsent({
      uuid: (await dmi('product_uuid'))?.toLowerCase(),
      serial: await dmi('product_serial'),
      manufacturer: await dmi('sys_vendor'),
      product: await dmi('product_name'),
      biosVersion: await dmi('bios_version'),
      arch: readArch(),
      firmware: (await listFolder(`${sys}/firmware/efi`)).length > 0 ? 'uefi' : 'bios',
      cpu: await readCpu(`${root}/proc/cpuinfo`),
      memoryBytes: await readMemory(`${root}/proc/meminfo`),
      disks: await readDisks(sys),
      nics: await readNics(sys),
      pci: await readPci(sys),
    }),
  );
}

function readArch(): Inventory['arch'] {
  if (nodeArch === 'x64') return 'amd64';
  if (nodeArch === 'arm64') return 'arm64';
  throw new AppError('does_not_fit', `the processor architecture ${nodeArch} is not known`);
}

async function readCpu(path: string): Promise<Inventory['cpu']> {
  const text = (await readFact(path, 4_000_000)) ?? '';
  const count = text.match(/\bprocessor\s*:\s*\d+/g)?.length ?? 1;
  return { model: /model name\s*:\s*(.{1,200}?)\s+(?:stepping|\w+\s*:)/.exec(text)?.[1] ?? 'unknown', count };
}

async function readMemory(path: string): Promise<number> {
  const text = (await readFact(path, 4096)) ?? '';
  return Number(/MemTotal:\s*(\d+) kB/.exec(text)?.[1] ?? 0) * 1024;
}

async function readDisks(sys: string): Promise<Inventory['disks']> {
  const names = (await listFolder(`${sys}/block`)).filter((name) => !NO_DISKS.test(name));
  const disks = await Promise.all(names.slice(0, 256).map((name) => readDisk(`${sys}/block/${name}`, name)));
  return disks.filter((disk) => disk.sizeBytes > 0);
}

async function readDisk(path: string, name: string): Promise<Inventory['disks'][number]> {
  return withoutAbsent({
    name,
    sizeBytes: ((await readNumber(`${path}/size`)) ?? 0) * SYSFS_SECTOR_BYTES,
    sectorSize: (await readNumber(`${path}/queue/logical_block_size`)) ?? 512,
    model: await readFact(`${path}/device/model`),
    serial: (await readFact(`${path}/device/serial`)) ?? (await readFact(`${path}/serial`)),
    removable: (await readNumber(`${path}/removable`)) === 1,
    rotational: (await readNumber(`${path}/queue/rotational`)) === 1,
  }) as Inventory['disks'][number];
}

/** Cards with a device behind them: no bridges, no loopback. Type 1 is Ethernet. */
async function readNics(sys: string): Promise<Inventory['nics']> {
  const nics: Inventory['nics'] = [];
  for (const name of (await listFolder(`${sys}/class/net`)).slice(0, 256)) {
    const path = `${sys}/class/net/${name}`;
    const mac = (await readFact(`${path}/address`))?.toLowerCase();
    const isCard = (await readNumber(`${path}/type`)) === 1 && (await listFolder(`${path}/device`)).length > 0;
    if (!isCard || mac === undefined || !/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac)) continue;
    nics.push(withoutAbsent({ name, mac, driver: await linkName(`${path}/device/driver`) }) as Inventory['nics'][number]);
  }
  return nics.slice(0, 64);
}

async function readPci(sys: string): Promise<Inventory['pci']> {
  const slots = (await listFolder(`${sys}/bus/pci/devices`)).slice(0, 1024);
  return Promise.all(slots.map((slot) => readPciDevice(`${sys}/bus/pci/devices/${slot}`, slot)));
}

async function readPciDevice(path: string, slot: string): Promise<Inventory['pci'][number]> {
  const fact = async (name: string) => (await readFact(`${path}/${name}`)) ?? 'unknown';
  const device = { slot, class: await fact('class'), vendor: await fact('vendor'), device: await fact('device') };
  return withoutAbsent({ ...device, driver: await linkName(`${path}/driver`) }) as Inventory['pci'][number];
}
