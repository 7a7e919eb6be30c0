import { type Chunk, decodeFrame } from '../../core/content/frame.ts';
import { type Frame, readFrames } from '../../core/content/frame-reader.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { asUnreachable, type ServerClient } from '../client.ts';
import type { Patience } from '../patience.ts';

export type ChunkSource = {
  readonly client: Pick<ServerClient, 'chunks'>;
  readonly manifest: Digest;
  readonly signal: AbortSignal;
  readonly patience: Patience;
  /** Told how many octets arrived. */
  readonly onOctets?: (count: number) => void;
  /** Told of chunks that came along in a frame without being asked for. */
  readonly onSpare?: (chunk: Chunk) => void;
};

/** A server that gives wrong content is asked again this often: it may have repaired its store meanwhile. */
const WRONG_CONTENT_TRIES = 3;

/**
 * The wanted chunks, each once, in the order the server sends them, each checked against its digest. What arrived
 * is not asked for again when the connection breaks; that is tried until `signal` aborts.
 *
 * Errors: `bad_data` naming a digest when the server goes on giving something else; `cancelled`; what the server says.
 */
export async function* fetchChunks(source: ChunkSource, digests: readonly Digest[]): AsyncGenerator<Chunk> {
  const wanted = new Set(digests);
  let wrong = 0;
  for (let attempt = 1; wanted.size > 0; attempt += 1) {
    const before = wanted.size;
    try {
      yield* fetchOnce(source, wanted);
    } catch (error) {
      const problem = asUnreachable(error, 'fetching chunks', source.signal);
      if (isWrongContent(problem)) wrong += 1;
      if (!isWorthRetrying(problem) || wrong >= WRONG_CONTENT_TRIES) throw nameDigest(problem, wanted);
      if (wanted.size < before) attempt = 1;
      await source.patience.pause(attempt, source.signal);
    }
  }
}

/** One request for what is still wanted; takes from `wanted` what it yields. */
async function* fetchOnce(source: ChunkSource, wanted: Set<Digest>): AsyncGenerator<Chunk> {
  const octets = await source.client.chunks({ manifest: source.manifest, digests: [...wanted] }, source.signal);
  for await (const frame of readFrames(counted(octets, source.onOctets), { isPayloadChecked: false })) {
    // All is here: a well-behaved stream ends now and leaves its connection for the next request.
    if (wanted.size === 0) return;
    // This ends a stream that has no end: each frame must bring something that is still missing.
    if (!frame.header.chunks.some(({ digest }) => wanted.has(digest))) {
      throw new AppError('bad_data', 'the server sent a frame in which nothing was asked for');
    }
    yield* takeWanted(frame, wanted, source.onSpare);
  }
  if (wanted.size > 0) throw new AppError('bad_data', `the server left out ${wanted.size} chunks`);
}

async function* takeWanted(frame: Frame, wanted: Set<Digest>, onSpare: ChunkSource['onSpare']): AsyncGenerator<Chunk> {
  for (const chunk of await decodeFrame(frame.header, frame.payload)) {
    if (wanted.delete(chunk.digest)) yield chunk;
    else onSpare?.(chunk);
  }
}

async function* counted(octets: AsyncIterable<Uint8Array>, onOctets: ChunkSource['onOctets']): AsyncGenerator<Uint8Array> {
  for await (const part of octets) {
    onOctets?.(part.byteLength);
    yield part;
  }
}

function isWrongContent({ code }: AppError): boolean {
  return code === 'bad_data' || code === 'corrupt' || code === 'not_found';
}

function isWorthRetrying(problem: AppError): boolean {
  return isWrongContent(problem) || problem.code === 'unreachable' || problem.code === 'busy' || problem.code === 'not_running';
}

function nameDigest(problem: AppError, wanted: ReadonlySet<Digest>): AppError {
  const [first] = wanted;
  if (!isWrongContent(problem) || first === undefined) return problem;
  return new AppError(problem.code, `the server does not give the right content for ${first}: ${problem.message}`, {
    hint: 'run "store check" on the server',
    cause: problem,
  });
}
