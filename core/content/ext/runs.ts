import { AppError } from '../../errors.ts';
import type { Inode } from './inode.ts';
import type { Volume } from './volume.ts';

/** Blocks of a file that lie one after the other: `block` on the disk is block `index` of the file. */
export type Run = { readonly index: number; readonly block: number; readonly blocks: number };

const EXTENT_MAGIC = 0xf30a;
const MAX_EXTENT_DEPTH = 5;
const LONGEST_WRITTEN = 32_768;
/** Of one file. A well-kept disk of 20 GB has fewer in all its files. */
const MAX_RUNS = 100_000;

/**
 * Where the blocks of a file lie, in the order of the file; holes and blocks that were never written are left out.
 * Throws `bad_data` for a map that cannot be.
 * Source: Linux, Documentation/filesystems/ext4/ifork.rst.
 */
export async function readRuns(volume: Volume, inode: Inode): Promise<Run[]> {
  const runs: Run[] = [];
  const wanted = Math.ceil(inode.sizeBytes / volume.superblock.blockBytes);
  const source = inode.hasExtents ? readExtentNode(volume, inode.map, undefined) : readOldMap(volume, inode.map, wanted);
  for await (const run of source) {
    const last = runs.at(-1);
    if (run.index >= wanted) break;
    if (last && run.index < last.index + last.blocks) throw badMap('goes backwards');
    if (run.block <= 0 || run.block + run.blocks > volume.superblock.blocks) throw badMap('leaves the disk');
    if (last && run.index === last.index + last.blocks && run.block === last.block + last.blocks) {
      runs[runs.length - 1] = { ...last, blocks: last.blocks + run.blocks };
    } else runs.push(run);
    if (runs.length > MAX_RUNS) throw badMap('has too many pieces');
  }
  return runs;
}

async function* readExtentNode(volume: Volume, node: Buffer, depth: number | undefined): AsyncGenerator<Run> {
  const entries = node.readUInt16LE(2);
  const level = node.readUInt16LE(6);
  const isPossible = node.readUInt16LE(0) === EXTENT_MAGIC && 12 + entries * 12 <= node.length && level <= MAX_EXTENT_DEPTH;
  if (!isPossible || (depth !== undefined && level !== depth)) throw badMap('has a node that is none');
  volume.spend(entries / 16);
  for (let at = 12; at < 12 + entries * 12; at += 12) {
    if (level === 0) yield* leafRun(node, at);
    else {
      const child = node.readUInt32LE(at + 4) + node.readUInt16LE(at + 8) * 2 ** 32;
      yield* readExtentNode(volume, await copyOfBlock(volume, child), level - 1);
    }
  }
}

function* leafRun(node: Buffer, at: number): Generator<Run> {
  const blocks = node.readUInt16LE(at + 4);
  // Longer ones are reserved and not written: they read as zeros.
  if (blocks === 0 || blocks > LONGEST_WRITTEN) return;
  yield { index: node.readUInt32LE(at), block: node.readUInt32LE(at + 8) + node.readUInt16LE(at + 6) * 2 ** 32, blocks };
}

/** Twelve blocks, then a block of blocks, one of those, and one of those again. */
async function* readOldMap(volume: Volume, map: Buffer, wanted: number): AsyncGenerator<Run> {
  const perBlock = volume.superblock.blockBytes / 4;
  let index = 0;
  for (let slot = 0; slot < 15 && index < wanted; slot++) {
    const depth = Math.max(0, slot - 11);
    yield* readPointer(map.readUInt32LE(slot * 4), depth, index);
    index += perBlock ** depth;
  }

  async function* readPointer(block: number, depth: number, from: number): AsyncGenerator<Run> {
    if (block === 0 || from >= wanted) return;
    if (depth === 0) {
      yield { index: from, block, blocks: 1 };
      return;
    }
    const pointers = await copyOfBlock(volume, block);
    volume.spend(perBlock / 64);
    const step = perBlock ** (depth - 1);
    for (let n = 0; n < perBlock && from + n * step < wanted; n++)
      yield* readPointer(pointers.readUInt32LE(n * 4), depth - 1, from + n * step);
  }
}

/** Others are read while it is gone through. */
async function copyOfBlock(volume: Volume, block: number): Promise<Buffer> {
  return Buffer.from(await volume.readBlock(block));
}

function badMap(what: string): AppError {
  return new AppError('bad_data', `a map of blocks ${what}`);
}
