import { constants, createZstdDecompress } from 'node:zlib';
import { type Chunk, chunkDigest, FRAME_PREFIX_BYTES, type FrameChunk, parseFrameHeader } from '../../core/content/frame.ts';
import { MAX_WINDOW_LOG } from '../../core/content/limits.ts';
import type { FrameRecord } from './content-index.ts';

/** Octets that come out of the decoder at a time: what came out before the damage counts. */
const PIECE_BYTES = 16 * 1024;
const CHUNK_ENTRY_BYTES = 36;
const DIGEST_BYTES = 32;

/**
 * The chunks of a damaged frame that are right all the same, each proved by its digest: those before the damage in a
 * compressed payload, all but one in a raw one, all of them when only the header is hurt and the index knows its table.
 */
export async function salvageChunks(octets: Buffer, row: FrameRecord | undefined): Promise<readonly Chunk[]> {
  const table = tableOf(octets, row);
  if (table === undefined) return [];
  const rawBytes = table.chunks.reduce((sum, { length }) => sum + length, 0);
  const payload = octets.subarray(table.headerBytes);
  const asRaw = payload.length === rawBytes ? rightChunks(payload, table.chunks) : [];
  return asRaw.length > 0 ? asRaw : rightChunks(await decodeAsFarAsPossible(payload, rawBytes), table.chunks);
}

/** What lies in a damaged frame, by its header, else by the index; undefined when neither can say. */
export function tableOf(octets: Buffer, row: FrameRecord | undefined): { chunks: readonly FrameChunk[]; headerBytes: number } | undefined {
  try {
    return parseFrameHeader(octets);
  } catch {
    // The header is what is damaged. Frames in packs name no base chunks, so its length follows from the rows.
    return row && { chunks: row.chunks, headerBytes: FRAME_PREFIX_BYTES + row.chunks.length * CHUNK_ENTRY_BYTES + DIGEST_BYTES };
  }
}

function rightChunks(raw: Buffer, table: readonly FrameChunk[]): Chunk[] {
  const chunks: Chunk[] = [];
  let offset = 0;
  for (const { digest, length } of table) {
    const bytes = raw.subarray(offset, offset + length);
    offset += length;
    if (bytes.length === length && chunkDigest(bytes) === digest) chunks.push({ digest, bytes });
  }
  return chunks;
}

function decodeAsFarAsPossible(payload: Buffer, rawBytes: number): Promise<Buffer> {
  const decoder = createZstdDecompress({ chunkSize: PIECE_BYTES, params: { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG } });
  const pieces: Buffer[] = [];
  let bytes = 0;
  return new Promise((resolve) => {
    // Damage is expected here; what was decoded before it is hashed by the caller.
    const end = (): void => {
      decoder.destroy();
      resolve(Buffer.concat(pieces));
    };
    decoder.on('error', end).on('end', end);
    decoder.on('data', (piece: Buffer) => {
      pieces.push(piece);
      bytes += piece.length;
      if (bytes > rawBytes) end();
    });
    decoder.end(payload);
  });
}
