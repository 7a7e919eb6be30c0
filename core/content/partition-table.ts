import { AppError } from '../errors.ts';
import type { BootType, DiskFacts, Partition, PartitionTable } from '../image.ts';
import { fileSystemOf, SIGNATURE_BYTES } from './file-system.ts';
import { hasGptHeader, type ReadAt, readGpt } from './gpt.ts';
import { PROTECTIVE, readMbrEntries, readMbrPartitions } from './mbr.ts';

const EFI_SYSTEM = 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b';
const BIOS_BOOT = '21686148-6449-6e6f-744e-656564454649';
const MBR_EFI_SYSTEM = 'ef';
const BOOT_CODE_BYTES = 440;

export type DiskLayout = Omit<DiskFacts, 'sizeBytes'>;

/**
 * What stands at the start of a disk: sector size, partition table, boot type. `sectorSize` overrules what
 * the GPT's place says (512 at byte 512, 4096 at byte 4096, 512 without one).
 * Throws `bad_data` when there is neither a partition table nor a known file system, or a damaged table.
 */
export async function readLayout(readAt: ReadAt, sectorSize?: number): Promise<DiskLayout> {
  const head = await readAt(0, SIGNATURE_BYTES);
  if (head.length < 512) throw notADisk(`it has ${head.length} bytes`);
  const gptSector = [512, 4096].find(
    (size) => (sectorSize ?? size) === size && head.length >= size * 2 && hasGptHeader(head.subarray(size)),
  );
  if (gptSector !== undefined) {
    const { partitions } = await readGpt(readAt, gptSector);
    return layout(head, gptSector, { scheme: 'gpt', partitions });
  }
  const fileSystem = fileSystemOf(head);
  const entries = fileSystem === 'vfat' || fileSystem === 'ntfs' ? undefined : readMbrEntries(head);
  const size = sectorSize ?? 512;
  if (entries?.some((entry) => entry.type === PROTECTIVE)) throw new AppError('bad_data', NO_GPT, { hint: NO_GPT_HINT });
  if (entries?.some((entry) => entry.type !== 0 && entry.sectors > 0)) {
    return layout(head, size, { scheme: 'mbr', partitions: await readMbrPartitions(entries, readAt, size) });
  }
  if (fileSystem === undefined) {
    throw notADisk('no partition table and no file system that we know');
  }
  return layout(head, size, { scheme: 'none', partitions: [] });
}

/** `bad_data`: what was given is no disk, and what would be one. */
export function notADisk(why: string): AppError {
  return new AppError('bad_data', `not a disk image: ${why}`, { hint: 'give a raw disk, a .zst or .gz of one, or a qcow2 file' });
}

const NO_GPT = "the disk's MBR announces a GPT, and there is none where it belongs";
const NO_GPT_HINT = 'repair the image (sgdisk), or say --sector-size 4096 if it was made on a disk with 4096-byte sectors';

function layout(head: Buffer, sectorSize: number, partitionTable: PartitionTable): DiskLayout {
  return { sectorSize, partitionTable, bootType: bootTypeOf(head, partitionTable) };
}

/**
 * UEFI: there is an EFI system partition. BIOS: the first sector has boot code, and either it begins with a
 * jump (GRUB, a boot sector) or something tells it where to go on (BIOS boot partition, active partition).
 */
function bootTypeOf(head: Buffer, table: PartitionTable): BootType {
  const isUefi = table.partitions.some(({ type }) => type === EFI_SYSTEM || type === MBR_EFI_SYSTEM);
  const hasCode = head.subarray(0, BOOT_CODE_BYTES).some((octet) => octet !== 0) && head.readUInt16LE(510) === 0xaa55;
  const hasNext =
    table.partitions.some(({ type, bootable }) => type === BIOS_BOOT || bootable) ||
    head[446] === 0x80 ||
    head[0] === 0xeb ||
    head[0] === 0xe9;
  const isBios = hasCode && hasNext;
  if (isUefi && isBios) return 'both';
  if (isUefi) return 'uefi';
  return isBios ? 'bios' : 'none';
}

/** Throws `bad_data` when a partition lies past the end: the image was cut off. */
export function checkPartitionsFit(partitions: readonly Partition[], sizeBytes: number): void {
  const outside = partitions.find((partition) => partition.startBytes + partition.sizeBytes > sizeBytes);
  if (outside === undefined) return;
  const end = outside.startBytes + outside.sizeBytes;
  throw new AppError('bad_data', `the image is cut off: partition ${outside.number} ends at byte ${end}, the file has ${sizeBytes}`, {
    hint: 'copy the image again from where it came',
  });
}

/**
 * The offsets where the chunk grid starts anew, ascending, first 0: the start and the end of every partition,
 * so that the table and the gaps are regions of their own. Overlaps just give more regions.
 */
export function regionStarts(partitions: readonly Partition[]): readonly number[] {
  const edges = partitions.flatMap((partition) => [partition.startBytes, partition.startBytes + partition.sizeBytes]);
  return [...new Set([0, ...edges])].sort((a, b) => a - b);
}
