import { type Chunk, encodeFrame, type FrameChunk } from '../../core/content/frame.ts';
import { FRAME_TARGET_BYTES, MAX_FRAME_CHUNKS } from '../../core/content/limits.ts';
import { AppError } from '../../core/errors.ts';

export type FrameSummary = { readonly rawBytes: number; readonly chunks: readonly FrameChunk[] };

/** Frames on their way: compressed in parallel by zlib's threads, written in the order in which they were pushed. */
export type FrameQueue = {
  /** Waits while too many are under way. Throws the first failure of any before. */
  push(octets: Promise<Buffer>, summary: FrameSummary): Promise<void>;
  /** Waits for all. Throws the first failure. */
  drain(): Promise<void>;
  /** Waits for all; never throws. */
  settle(): Promise<void>;
};

/** Frames under way at once: enough for two cores, and a bound on memory. */
const IN_FLIGHT = 4;

export function createFrameQueue(write: (octets: Buffer, summary: FrameSummary) => Promise<void>, signal: AbortSignal): FrameQueue {
  const inFlight: Promise<void>[] = [];
  let failure: unknown;

  function throwIfStopped(): void {
    if (failure !== undefined) throw failure;
    if (signal.aborted) throw new AppError('cancelled', 'the store was closed');
  }

  async function settle(): Promise<void> {
    await Promise.all(inFlight);
  }

  return {
    settle,
    async push(octets, summary) {
      const written = Promise.all([octets, inFlight.at(-1)]).then(async ([ready]) => {
        if (failure === undefined) await write(ready, summary);
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
      await settle();
      throwIfStopped();
    },
  };
}

/** Gathers chunks into frames of about 1 MiB; the bytes given must stay as they are. */
export type FrameBuilder = {
  add(chunk: Chunk): Promise<void>;
  flush(): Promise<void>;
};

export function createFrameBuilder(queue: FrameQueue): FrameBuilder {
  let chunks: Chunk[] = [];
  let rawBytes = 0;

  async function flush(): Promise<void> {
    if (chunks.length === 0) return;
    const full = chunks;
    const summary = { rawBytes, chunks: full.map(({ digest, bytes }) => ({ digest, length: bytes.length })) };
    chunks = [];
    rawBytes = 0;
    await queue.push(encodeFrame(full), summary);
  }

  return {
    flush,
    async add(chunk) {
      chunks.push(chunk);
      rawBytes += chunk.bytes.length;
      if (rawBytes >= FRAME_TARGET_BYTES || chunks.length >= MAX_FRAME_CHUNKS) await flush();
    },
  };
}
