import { AppError } from '../errors.ts';
import type { Partition } from '../image.ts';
import type { ReadAt } from './gpt.ts';

const ENTRIES_AT = 446;
const EXTENDED = new Set([0x05, 0x0f, 0x85]);
export const PROTECTIVE = 0xee;
/** Logical partitions; Linux itself stops far below. Bounds a chain that was made to loop. */
const MAX_LOGICAL = 128;

type Entry = { readonly active: boolean; readonly type: number; readonly start: number; readonly sectors: number };

/**
 * The four entries of an MBR, or undefined when the sector is none: the mark 55 AA is missing or an
 * entry's status is neither 00 nor 80 (then it is the boot code of a file system without partitions).
 */
export function readMbrEntries(sector: Buffer): readonly Entry[] | undefined {
  if (sector.length < 512 || sector.readUInt16LE(510) !== 0xaa55) return undefined;
  const statuses = [0, 1, 2, 3].map((index) => sector[ENTRIES_AT + index * 16] ?? 0);
  if (statuses.some((status) => status !== 0 && status !== 0x80)) return undefined;
  return [0, 1, 2, 3].map((index) => {
    const at = ENTRIES_AT + index * 16;
    return {
      active: sector[at] === 0x80,
      type: sector[at + 4] ?? 0,
      start: sector.readUInt32LE(at + 8),
      sectors: sector.readUInt32LE(at + 12),
    };
  });
}

/**
 * Primary partitions (1 to 4, the extended one left out) and logical ones (5 on). Throws `bad_data`
 * for a chain of logical partitions that loops or leaves the disk.
 */
export async function readMbrPartitions(entries: readonly Entry[], readAt: ReadAt, sectorSize: number): Promise<Partition[]> {
  const primary = entries.flatMap((entry, index) =>
    entry.type === 0 || entry.sectors === 0 || EXTENDED.has(entry.type) ? [] : [toPartition(entry, index + 1, 0, sectorSize)],
  );
  const extended = entries.find((entry) => EXTENDED.has(entry.type) && entry.sectors > 0);
  return extended ? [...primary, ...(await readLogical(extended.start, readAt, sectorSize))] : primary;
}

async function readLogical(base: number, readAt: ReadAt, sectorSize: number): Promise<Partition[]> {
  const partitions: Partition[] = [];
  const seen = new Set<number>();
  let link = base;
  for (;;) {
    if (seen.has(link) || seen.size >= MAX_LOGICAL) throw badChain(`loops at sector ${link}`);
    seen.add(link);
    const entries = readMbrEntries(await readAt(link * sectorSize, 512));
    if (entries === undefined) throw badChain(`is broken at sector ${link}`);
    const [logical, next] = entries;
    if (logical && logical.type !== 0 && logical.sectors > 0) {
      partitions.push(toPartition(logical, 5 + partitions.length, link, sectorSize));
    }
    if (next === undefined || next.sectors === 0 || !EXTENDED.has(next.type)) return partitions;
    link = base + next.start;
  }
}

function toPartition(entry: Entry, number: number, base: number, sectorSize: number): Partition {
  return {
    number,
    startBytes: (base + entry.start) * sectorSize,
    sizeBytes: entry.sectors * sectorSize,
    type: entry.type.toString(16).padStart(2, '0'),
    ...(entry.active ? { bootable: true } : {}),
  };
}

function badChain(what: string): AppError {
  return new AppError('bad_data', `the chain of logical partitions ${what}`, {
    hint: 'repair the image (sfdisk --verify) and import it again',
  });
}
