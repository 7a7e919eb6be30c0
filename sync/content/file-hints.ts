import { createBaseMap } from '../../core/content/delta/base-map.ts';
import { createFileMap, type FileMap, type FileMapMaker } from '../../core/content/delta/file-map.ts';
import type { LendChunk } from '../../core/content/delta-frame.ts';
import { type ExtFile, readExtFiles } from '../../core/content/ext/files.ts';
import type { ReadInto } from '../../core/content/ext/volume.ts';
import type { DiskRoot, TreeRoot } from '../../core/content/manifest.ts';
import { readTreeFiles } from '../../core/content/tree-files.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import type { ChunkReader } from './chunk-reader.ts';
import { readManifestData, readRoot } from './manifest-reader.ts';

/** `get` for manifests, `lend` for data, of which single blocks are read. */
type Readers = { readonly get: ChunkReader; readonly lend: LendChunk };

/**
 * Which files own what of an image, as far as that can be told: the files of a tree, and those of the ext file systems on
 * a disk. Empty for the rest, which is coded without. Depends on the content alone.
 */
export async function readFileMap({ get, lend }: Readers, manifest: Digest): Promise<FileMap> {
  const root = await readRoot(get, manifest);
  const files = createFileMap();
  if (root.kind === 'disk') await addDisk(files, root, await openImage({ get, lend }, manifest));
  else await addTree(files, root, get);
  return files.finish();
}

async function addTree(files: FileMapMaker, root: TreeRoot, get: ChunkReader): Promise<void> {
  for await (const { path, sizeBytes, offset } of readTreeFiles(root, get)) {
    files.add({ path, sizeBytes, runs: [{ fileOffset: 0, diskOffset: offset, length: sizeBytes }] });
  }
}

async function addDisk(files: FileMapMaker, { disk, sizeBytes }: DiskRoot, readInto: ReadInto): Promise<void> {
  const { partitions } = disk.partitionTable;
  const stretches = partitions.length > 0 ? partitions : [{ startBytes: 0, sizeBytes }];
  for (const stretch of stretches) {
    try {
      const readInside: ReadInto = (room, offset) =>
        readInto(room.subarray(0, Math.max(0, stretch.sizeBytes - offset)), stretch.startBytes + offset);
      for await (const file of readExtFiles(readInside)) files.add({ ...file, runs: runsOf(file, stretch.startBytes) });
    } catch (error) {
      // Another file system, or none: its blocks are coded without knowing whose they are.
      if (!(error instanceof AppError) || error.code !== 'bad_data') throw error;
    }
  }
}

function* runsOf({ runs, blockBytes }: ExtFile, start: number) {
  for (const { index, block, blocks } of runs) {
    yield { fileOffset: index * blockBytes, diskOffset: start + block * blockBytes, length: blocks * blockBytes };
  }
}

/** Reads an image at any place; what is no data, or behind its end, reads as zeros. */
async function openImage({ get, lend }: Readers, manifest: Digest): Promise<ReadInto> {
  const chunks = createBaseMap();
  for await (const extent of readManifestData(get, manifest, () => true)) chunks.add(extent, []);
  return async (room, offset) => {
    const { length } = room.fill(0);
    for (let at = 0; at < length; ) {
      const chunk = chunks.chunkAt(0, offset + at);
      // Chunks begin at sectors at least: what lies between them is zeros up to the next one.
      if (chunk < 0) {
        at += 512 - ((offset + at) % 512);
        continue;
      }
      const { bytes, giveBack } = await lend(chunks.digestOf(chunk));
      const from = offset + at - chunks.offsetOf(chunk);
      at += bytes.copy(room, at, from, Math.min(bytes.length, from + length - at));
      giveBack();
    }
    return length;
  };
}
