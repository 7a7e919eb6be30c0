import { chunkDigest } from '../../core/content/frame.ts';
import type { Extent } from '../../core/content/page-tree.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import type { OpenDisk } from './disk.ts';
import { type ChunkSource, fetchChunks } from './fetch-chunks.ts';
import type { Meter } from './meter.ts';
import { writeZeros } from './zeros.ts';

export type DataExtent = { readonly kind: 'data'; readonly offset: number; readonly length: number; readonly digest: Digest };

/** What the writing of extents works with. */
export type WriteJob = { readonly disk: OpenDisk; readonly source: ChunkSource; readonly meter: Meter; readonly signal: AbortSignal };

/** Chunks of one request, and requests that run at a time: together they bound memory and unused answers. */
const BATCH_CHUNKS = 1024;
const BATCH_BYTES = 64 * 1024 * 1024;
const REQUESTS = 2;
/** Places of a batch that are compared before the whole batch is. */
const PROBES = 16;

/**
 * Makes the disk hold these extents. Data that is there already is not fetched, so that a deployment that was
 * interrupted goes on, and one that was done changes nothing. Free extents are left as they are.
 */
export async function writeExtents(job: WriteJob, extents: AsyncIterable<Extent> | Iterable<Extent>): Promise<void> {
  const batches = createBatches(job);
  try {
    for await (const extent of extents) {
      throwIfStopped(job.signal);
      if (extent.kind === 'zero') await writeZeros(job.disk, extent, (length, isWritten) => noteZeros(job.meter, length, isWritten));
      else if (extent.kind === 'free') job.meter.advance(extent.length);
      else if ('digest' in extent) await batches.add(extent);
    }
  } catch (error) {
    await batches.drain();
    throw error;
  }
  await batches.finish();
}

type Batches = {
  add(extent: DataExtent): Promise<void>;
  /** Begins the last request and waits for all. */
  finish(): Promise<void>;
  /** Waits for those that run; never rejects. */
  drain(): Promise<void>;
};

/** Gathers data extents into requests and runs a few at a time. `add` and `finish` reject with the first failure of any request. */
function createBatches(job: WriteJob): Batches {
  const running = new Set<Promise<void>>();
  let failure: unknown;
  let batch: DataExtent[] = [];
  let batchBytes = 0;
  const start = () => {
    const work = writeBatch(job, batch)
      .catch((error: unknown) => {
        failure ??= error;
      })
      .finally(() => running.delete(work));
    running.add(work);
    batch = [];
    batchBytes = 0;
  };
  return {
    async add(extent) {
      batch.push(extent);
      batchBytes += extent.length;
      if (batch.length < BATCH_CHUNKS && batchBytes < BATCH_BYTES) return;
      start();
      if (running.size >= REQUESTS) await Promise.race(running);
      if (failure !== undefined) throw failure;
    },
    async finish() {
      if (failure === undefined && batch.length > 0) start();
      await Promise.all(running);
      if (failure !== undefined) throw failure;
    },
    async drain() {
      await Promise.all(running);
    },
  };
}

function noteZeros(meter: Meter, length: number, isWritten: boolean): void {
  meter.advance(length);
  if (isWritten) meter.counts.zeroed += length;
}

async function writeBatch(job: WriteJob, batch: readonly DataExtent[]): Promise<void> {
  const missing = await findMissing(job, batch);
  const places = Map.groupBy(missing, (extent) => extent.digest);
  for await (const chunk of fetchChunks(job.source, [...places.keys()])) {
    for (const place of places.get(chunk.digest) ?? []) await writeChunk(job, place, chunk.bytes);
  }
}

/** `bytes` were hashed on arrival; here they only have to be as long as the manifest says, or they would spill over. */
async function writeChunk({ disk, meter }: WriteJob, place: DataExtent, bytes: Buffer): Promise<void> {
  if (bytes.length !== place.length) {
    throw new AppError(
      'bad_data',
      `chunk ${place.digest} has ${bytes.length} bytes, the manifest says ${place.length} at byte ${place.offset}`,
    );
  }
  await disk.write(place.offset, bytes);
  meter.counts.written += bytes.length;
  meter.advance(bytes.length);
}

/**
 * The extents whose octets are not on the disk yet. When none of a few places across the batch is right, none of it is
 * taken to be: a disk with other content is not read through. What was missed by that is written again, which is harmless.
 */
async function findMissing(job: WriteJob, batch: readonly DataExtent[]): Promise<readonly DataExtent[]> {
  const step = Math.max(1, Math.floor(batch.length / PROBES));
  const right = new Set<DataExtent>();
  for (let index = 0; index < batch.length; index += step) await compare(job, batch[index], right);
  if (right.size === 0) return batch;
  for (const extent of batch) if (!right.has(extent)) await compare(job, extent, right);
  const keptBytes = [...right].reduce((sum, extent) => sum + extent.length, 0);
  job.meter.counts.kept += keptBytes;
  job.meter.advance(keptBytes);
  return batch.filter((extent) => !right.has(extent));
}

async function compare(job: WriteJob, extent: DataExtent | undefined, right: Set<DataExtent>): Promise<void> {
  throwIfStopped(job.signal);
  if (extent !== undefined && (await isOnDisk(job.disk, extent))) right.add(extent);
}

/** Whether the disk holds this chunk at its place. */
export async function isOnDisk(disk: OpenDisk, extent: { offset: number; length: number; digest: Digest }): Promise<boolean> {
  return chunkDigest(await disk.read(extent.offset, extent.length)) === extent.digest;
}

export function throwIfStopped(signal: AbortSignal): void {
  if (signal.aborted) throw new AppError('cancelled', 'the work was stopped');
}
