import { hash } from 'node:crypto';
import { z } from 'zod';
import { canonicalJson } from '../../core/canonical-json.ts';
import { MAX_FRAME_RAW_BYTES } from '../../core/content/limits.ts';
import { AppError } from '../../core/errors.ts';

/*
 * A part of an archive ("RAD", replication archive for disks): one header, frames, one trailer.
 *
 *    0    8  magic `WSRAD\0\0\1`, the last octet is the format
 *    8    4  length of the JSON, little-endian
 *   12       canonical JSON {encoder, part, frames, rawBytes}, then zeros
 *  480   32  SHA-256 of the 480 octets before
 *  512       frames (core/content/frame.ts)
 *   -40   8  magic `WSRADEND`
 *   -32  32  SHA-256 of the header's 512 octets
 *
 * The file's name is the SHA-256 of all its octets.
 */
export const PART_HEADER_BYTES = 512;
export const PART_TRAILER_BYTES = 40;
const MAGIC = Buffer.from('WSRAD\0\0\x01', 'latin1');
const END_MAGIC = Buffer.from('WSRADEND');
const SUMMED_BYTES = 480;
const MAX_FRAMES = 1_000_000;

export const PartHeader = z.strictObject({
  encoder: z.strictObject({
    format: z.number().int(),
    zstd: z.string().max(32),
    level: z.number().int(),
    delta: z.number().int().optional(),
  }),
  /** Counts from 0. */
  part: z.number().int().nonnegative(),
  frames: z.number().int().positive().max(MAX_FRAMES),
  rawBytes: z
    .number()
    .int()
    .positive()
    .max(MAX_FRAMES * MAX_FRAME_RAW_BYTES),
});
export type PartHeader = z.infer<typeof PartHeader>;

export function encodePartHeader(header: PartHeader): Buffer {
  const json = Buffer.from(canonicalJson(header));
  const octets = Buffer.alloc(PART_HEADER_BYTES);
  MAGIC.copy(octets);
  octets.writeUInt32LE(json.length, 8);
  json.copy(octets, 12);
  hash('sha256', octets.subarray(0, SUMMED_BYTES), 'buffer').copy(octets, SUMMED_BYTES);
  return octets;
}

export function encodePartTrailer(header: PartHeader): Buffer {
  return Buffer.concat([END_MAGIC, hash('sha256', encodePartHeader(header), 'buffer')]);
}

/** Throws `bad_data`; `version_mismatch` for a part of another format. */
export function parsePartHeader(octets: Buffer): PartHeader {
  if (!octets.subarray(0, 7).equals(MAGIC.subarray(0, 7))) throw badPart('this is no part of an archive');
  if (octets[7] !== MAGIC[7]) {
    throw new AppError('version_mismatch', `the archive has format ${octets[7]}, this program reads ${MAGIC[7]}`, {
      hint: 'update this server',
    });
  }
  const summed = octets.subarray(0, SUMMED_BYTES);
  if (!hash('sha256', summed, 'buffer').equals(octets.subarray(SUMMED_BYTES, PART_HEADER_BYTES))) throw badPart('its header is damaged');
  const length = octets.readUInt32LE(8);
  if (length > SUMMED_BYTES - 12) throw badPart('its header is too long');
  const parsed = PartHeader.safeParse(parseJson(octets.toString('utf8', 12, 12 + length)));
  if (!parsed.success || !encodePartHeader(parsed.data).equals(octets)) throw badPart('its header is not ours');
  return parsed.data;
}

/** Throws `bad_data` unless the file ends as a part with this header does. */
export function parsePartTrailer(octets: Buffer, header: PartHeader): void {
  if (!octets.equals(encodePartTrailer(header))) throw badPart('it does not end as a part does: it was cut off or changed');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON is the same to the caller as JSON of another shape: the schema refuses it.
    return undefined;
  }
}

function badPart(what: string): AppError {
  return new AppError('bad_data', `the archive part cannot be read: ${what}`, { hint: 'remove it and fetch it again' });
}
