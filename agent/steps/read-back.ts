import { createHash } from 'node:crypto';
import type { DiskRoot } from '../../core/content/manifest.ts';
import type { Extent } from '../../core/content/page-tree.ts';
import { AppError } from '../../core/errors.ts';
import type { OpenDisk } from './disk.ts';
import type { Meter } from './meter.ts';
import { createMetadataTest } from './regions.ts';
import { isOnDisk, throwIfStopped } from './write-extents.ts';
import { isZero } from './zeros.ts';

/** Of the data, about this much, or this share where that is more. */
const SAMPLE_BYTES = 64 * 1024 * 1024;
const SAMPLE_SHARE = 0.02;
/** Of the zero ranges, about this many windows. */
const ZERO_WINDOWS = 1024;
const WINDOW_BYTES = 64 * 1024;

export type ReadBack = {
  readonly disk: OpenDisk;
  readonly root: DiskRoot;
  readonly meter: Meter;
  readonly signal: AbortSignal;
  /** Two read-backs with the same seed look at the same places. */
  readonly seed: string;
};

/**
 * Reads from the disk, and compares, all metadata and a random sample of data and zero ranges. The caller
 * flushed the disk and dropped the caches. Throws `mismatch` naming the first place that holds something else.
 */
export async function readBack(job: ReadBack, extents: AsyncIterable<Extent> | Iterable<Extent>): Promise<void> {
  const isMetadata = createMetadataTest(job.root);
  const share = Math.max(SAMPLE_SHARE, Math.min(1, SAMPLE_BYTES / Math.max(1, job.root.usedBytes)));
  const zeroShare = Math.min(1, ZERO_WINDOWS / job.root.tree.entries);
  for await (const extent of extents) {
    throwIfStopped(job.signal);
    const [chance, place] = draw(job.seed, extent.offset);
    if (extent.kind === 'data' && (chance < share || isMetadata(extent))) {
      job.meter.counts.readBack += extent.length;
      if (!(await isOnDisk(job.disk, extent))) throw mismatch(job.disk, extent.offset, `not chunk ${extent.digest}`);
    }
    if (extent.kind === 'zero' && chance < zeroShare) await checkWindow(job, extent, place);
    job.meter.advance(extent.length);
  }
}

async function checkWindow(job: ReadBack, extent: Extent, place: number): Promise<void> {
  const length = Math.min(WINDOW_BYTES, extent.length);
  const offset = extent.offset + Math.floor(((extent.length - length) * place) / 512) * 512;
  job.meter.counts.readBack += length;
  if (!isZero(await job.disk.read(offset, length))) throw mismatch(job.disk, offset, 'not zeros');
}

/** Two numbers in [0, 1) for a place. */
function draw(seed: string, offset: number): [number, number] {
  const octets = createHash('sha256').update(`${seed} ${offset}`).digest();
  return [octets.readUInt32LE(0) / 2 ** 32, octets.readUInt32LE(4) / 2 ** 32];
}

function mismatch(disk: OpenDisk, offset: number, what: string): AppError {
  return new AppError('mismatch', `read-back: disk ${disk.name} holds at byte ${offset} ${what}`, {
    hint: 'the disk or its controller does not keep what it is given: replace it',
  });
}
