import { type Chunk, encodePackedFrame, type FrameChunk } from '../../core/content/frame.ts';
import { FRAME_TARGET_BYTES, MAX_CHUNK_BYTES, MAX_FRAME_CHUNKS } from '../../core/content/limits.ts';
import { release } from '../../core/content/release.ts';
import { AppError } from '../../core/errors.ts';

export type FrameSummary = { readonly rawBytes: number; readonly chunks: readonly FrameChunk[] };

/** Frames on their way: compressed in parallel by zlib's threads, written in the order in which they were pushed. */
export type FrameQueue = {
  /** Waits while too many are under way. The octets are given back once they are written. Throws the first failure of any before. */
  push(octets: Promise<Buffer>, summary: FrameSummary): Promise<void>;
  /** Waits for all. Throws the first failure. */
  drain(): Promise<void>;
  /** Waits for all, and gives the rooms back; never throws. */
  settle(): Promise<void>;
  /** Rooms in which frames are gathered. They go round: fresh memory for each frame costs more in page faults and collections than hashing it does. */
  takeRoom(): Buffer;
  returnRoom(room: Buffer): void;
};

/** Frames under way at once: enough for two cores, and a bound on memory. */
const IN_FLIGHT = 4;

export function createFrameQueue(write: (octets: Buffer, summary: FrameSummary) => Promise<void>, signal: AbortSignal): FrameQueue {
  const inFlight: Promise<void>[] = [];
  const spare: Buffer[] = [];
  let failure: unknown;

  function throwIfStopped(): void {
    if (failure !== undefined) throw failure;
    if (signal.aborted) throw new AppError('cancelled', 'the store was closed');
  }

  return {
    async settle() {
      await Promise.all(inFlight);
      spare.splice(0).forEach(release);
    },
    takeRoom: () => spare.pop() ?? Buffer.allocUnsafeSlow(FRAME_TARGET_BYTES + MAX_CHUNK_BYTES),
    returnRoom: (room) => void spare.push(room),
    async push(octets, summary) {
      const written = Promise.all([octets, inFlight.at(-1)]).then(async ([ready]) => {
        if (failure === undefined) await write(ready, summary);
        release(ready);
      });
      inFlight.push(
        written.catch((error: unknown) => {
          failure ??= error;
        }),
      );
      if (inFlight.length >= IN_FLIGHT) await inFlight.shift();
      throwIfStopped();
    },
    async drain() {
      await Promise.all(inFlight);
      throwIfStopped();
    },
  };
}

/** A chunk of a frame, and where in its image it lies (0 when nobody asks). */
export type PlacedChunk = FrameChunk & { readonly offset: number };
export type EncodeChunks = (chunks: readonly PlacedChunk[], raw: Buffer) => Promise<Buffer>;

/** Gathers chunks into frames of about 1 MiB; their bytes are copied. */
export type FrameBuilder = {
  add(chunk: Chunk & { readonly offset?: number }): Promise<void>;
  flush(): Promise<void>;
};

export function createFrameBuilder(
  queue: FrameQueue,
  encode: EncodeChunks = (chunks, raw) => encodePackedFrame(chunks, raw),
): FrameBuilder {
  let raw: Buffer | undefined;
  let chunks: PlacedChunk[] = [];
  let rawBytes = 0;

  async function flush(): Promise<void> {
    if (raw === undefined) return;
    const full = raw;
    const summary = { rawBytes, chunks };
    const encoded = encode(chunks, full.subarray(0, rawBytes)).finally(() => queue.returnRoom(full));
    raw = undefined;
    chunks = [];
    rawBytes = 0;
    await queue.push(encoded, summary);
  }

  return {
    flush,
    async add({ digest, bytes, offset = 0 }) {
      raw ??= queue.takeRoom();
      bytes.copy(raw, rawBytes);
      chunks.push({ digest, length: bytes.length, offset });
      rawBytes += bytes.length;
      if (rawBytes >= FRAME_TARGET_BYTES || chunks.length >= MAX_FRAME_CHUNKS) await flush();
    },
  };
}
