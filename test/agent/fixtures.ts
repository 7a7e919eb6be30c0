import { createCipheriv } from 'node:crypto';
import { stat } from 'node:fs/promises';
import type { Machine } from '../../agent/machine.ts';
import type { Inventory } from '../../core/agent-protocol.ts';

export const MIB = 1024 * 1024;

/** The same octets for the same seed, incompressible. */
export function seededBytes(seed: number, length: number): Buffer {
  const key = Buffer.alloc(32);
  key.writeUInt32LE(seed);
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length));
}

/** A raw disk that BIOS would boot: MBR with one active partition from 1 MiB on, data and zeros in turn, half of it data. */
export function diskImage(sizeBytes: number, seed = 1): Buffer {
  const image = Buffer.alloc(sizeBytes);
  image.write('\xeb\x63\x90', 0, 'latin1');
  seededBytes(seed, 400).copy(image, 3);
  image[446] = 0x80;
  image[450] = 0x83;
  image.writeUInt32LE(2048, 454);
  image.writeUInt32LE(sizeBytes / 512 - 2048, 458);
  image.writeUInt16LE(0xaa55, 510);
  seededBytes(seed + 1, 100_000).copy(image, 4096);
  const data = seededBytes(seed + 2, sizeBytes);
  for (let offset = MIB; offset < sizeBytes; offset += 4 * MIB) data.copy(image, offset, offset, Math.min(offset + 2 * MIB, sizeBytes));
  return image;
}

export function inventoryOf(disk: { sizeBytes: number; sectorSize?: number }, changes: Partial<Inventory> = {}): Inventory {
  return {
    arch: 'amd64',
    firmware: 'bios',
    cpu: { model: 'test', count: 1 },
    memoryBytes: 512 * MIB,
    disks: [{ name: 'vda', sizeBytes: disk.sizeBytes, sectorSize: disk.sectorSize ?? 512 }],
    nics: [{ name: 'eth0', mac: '52:54:00:00:00:01' }],
    pci: [],
    ...changes,
  };
}

export type TestMachine = Machine & { readonly did: string[] };

/** A machine whose only disk is a file. */
export async function machineWith(diskPath: string, changes: Partial<Inventory> = {}): Promise<TestMachine> {
  const { size } = await stat(diskPath);
  const did: string[] = [];
  return {
    did,
    inventory: async () => inventoryOf({ sizeBytes: size }, changes),
    diskPath: () => diskPath,
    setClock: async () => void did.push('clock'),
    dropCaches: async () => void did.push('drop caches'),
    setNextBoot: async (disk, partition) => void did.push(`next boot ${disk} ${partition}`),
    reboot: async () => void did.push('reboot'),
  };
}
