import { type Chunk, chunkDigest, encodePackedFrame } from '../../core/content/frame.ts';
import type { Frame } from '../../core/content/frame-reader.ts';
import { release } from '../../core/content/release.ts';
import type { Digest } from '../../core/ids.ts';
import { asStoreError } from './durable.ts';
import { createFrameBuilder, createFrameQueue, type FrameBuilder } from './frame-queue.ts';
import { createPackWriter, touchPack } from './pack-writer.ts';
import type { Store } from './store.ts';

/** Of content that came in delta frames: packs are local, and a branch's processor may be slow. */
const DECODED_LEVEL = 1;

/** Pages lie in frames of their own: who walks a manifest does not read the data beside it. */
export type Lane = 'data' | 'pages';

/**
 * One operation's writes. What it puts becomes visible pack by pack, at the latest with `finish`; the packs that it
 * wrote and those with what it found already here are pinned against garbage collection until it ends, and its pack counts as young again.
 */
export type WriteSession = {
  /** Stores a chunk unless it is here; the bytes are copied. */
  put(bytes: Buffer, lane: Lane): Promise<Digest>;
  /**
   * Stores a decoded frame: as it is when none of its chunks is here (a delta frame in plain encoding, so that reading
   * never follows a chain), else the chunks that are missing. The memory of both, theirs alone, is given back when it is done with.
   */
  putFrame(frame: Frame, chunks: readonly Chunk[]): Promise<void>;
  /** Makes everything durable and visible. */
  finish(): Promise<{ readonly storedBytes: number }>;
};

/** Runs `work` with a session; whatever fails, nothing half-written is left. */
export async function withWriteSession<Result>(
  store: Store,
  doing: string,
  work: (session: WriteSession) => Promise<Result>,
): Promise<Result> {
  const session = openSession(store);
  try {
    return await work(session);
  } catch (error) {
    throw asStoreError(error, doing);
  } finally {
    await session.end();
  }
}

function openSession(store: Store): WriteSession & { end(): Promise<void> } {
  const pending = new Set<Digest>();
  const relied = new Set<string>();
  const packs = createPackWriter(store, {
    onCommit: (frames, name) => {
      rely(name);
      for (const frame of frames) for (const chunk of frame.chunks) pending.delete(chunk.digest);
    },
  });
  const queue = createFrameQueue(packs.append, store.signal);
  const lanes: { readonly [Name in Lane]: FrameBuilder } = { data: createFrameBuilder(queue), pages: createFrameBuilder(queue) };

  async function isHere(digest: Digest): Promise<boolean> {
    if (pending.has(digest)) return true;
    const [location] = store.index.locate(digest);
    if (location === undefined) return false;
    if (rely(location.pack)) await touchPack(store, location.pack);
    return true;
  }

  /** Holds a pack until the session ends; true when it was not held yet. */
  function rely(pack: string): boolean {
    if (relied.has(pack)) return false;
    relied.add(pack);
    store.pins.pinPack(pack);
    return true;
  }

  async function put(bytes: Buffer, lane: Lane): Promise<Digest> {
    const digest = chunkDigest(bytes);
    if (await isHere(digest)) return digest;
    pending.add(digest);
    await lanes[lane].add({ digest, bytes });
    return digest;
  }

  async function putFrame(frame: Frame, chunks: readonly Chunk[]): Promise<void> {
    const here = await Promise.all(chunks.map((chunk) => isHere(chunk.digest)));
    if (here.some((is) => is)) {
      for (const chunk of chunks) await put(chunk.bytes, 'data');
      for (const { bytes } of chunks) release(bytes);
      return release(frame.octets);
    }
    for (const chunk of chunks) pending.add(chunk.digest);
    await queue.push(plainOctets(frame, chunks), frame.header);
  }

  async function finish(): Promise<{ storedBytes: number }> {
    await lanes.data.flush();
    await lanes.pages.flush();
    await queue.drain();
    return { storedBytes: (await packs.commit()) ?? 0 };
  }

  async function end(): Promise<void> {
    await queue.settle();
    await packs.abort();
    for (const pack of relied) store.pins.unpinPack(pack);
  }

  return { put, putFrame, finish, end };
}

/** Decoded chunks lie one after the other in one buffer. They are coded at the lowest level: three fifths of the time for a twelfth more octets. */
async function plainOctets({ header, octets }: Frame, chunks: readonly Chunk[]): Promise<Buffer> {
  const first = chunks[0]?.bytes ?? octets;
  if (header.encoding !== 'zstd-base') {
    if (first.buffer !== octets.buffer) release(first);
    return octets;
  }
  release(octets);
  const raw = Buffer.from(first.buffer, first.byteOffset, header.rawBytes);
  const plain = await encodePackedFrame(header.chunks, raw, DECODED_LEVEL);
  release(raw);
  return plain;
}
