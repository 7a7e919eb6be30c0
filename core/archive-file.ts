import { createHash } from 'node:crypto';
import { z } from 'zod';
import { parseBoundedJson } from './bounded-json.ts';
import { canonicalJson, type Json } from './canonical-json.ts';
import { MAX_PART_BYTES } from './content/limits.ts';
import { digestOf } from './envelope.ts';
import { AppError } from './errors.ts';
import type { Digest } from './ids.ts';
import { ArchivePart } from './sync-protocol.ts';

/*
 * An archive as one file, F.rad: for a stick in the post. What lies in it is what goes over a link.
 *
 *    0    8  `WSRADF\0\1`, the last octet is the format
 *    8    8  octets of the index, little-endian
 *   16    8  octets of all parts, little-endian
 *   24    8  zeros
 *   32   32  SHA-256 of the index
 *   64       index: canonical JSON {archive: {have, parts, want}, catalogue}; `catalogue` is the signed answer of
 *            sync/catalogue, whose head names the digest of `archive`
 *            the parts one after the other, in the order of the index, and nothing behind them
 */
export const ARCHIVE_HEADER_BYTES = 64;
const MAGIC = Buffer.from('WSRADF\0\x01', 'latin1');
/** As much as a parent may tell in one answer, twice: 40,000 objects and 100,000 parts. */
const INDEX_LIMITS = { bytes: 64 * 1_048_576, values: 4_000_000 };

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const Content = z.strictObject({
  have: z.array(digest).max(10_000),
  want: z.array(digest).max(10_000),
  parts: z.array(ArchivePart.extend({ sizeBytes: z.number().int().positive().max(MAX_PART_BYTES) })).max(100_000),
});
/** Which content the file brings: the archive `have` -> `want`. */
export type ArchiveContent = { readonly have: readonly Digest[]; readonly want: readonly Digest[]; readonly parts: readonly ArchivePart[] };

const Index = z.strictObject({ archive: Content, catalogue: z.json() });
/** `catalogue` is not checked yet: server/replication/verify-catalogue.ts does, against the servers that the reader knows. */
export type ArchiveIndex = { readonly archive: ArchiveContent; readonly catalogue: unknown };

export type ArchiveHeader = { readonly indexBytes: number; readonly partsBytes: number; readonly digest: Buffer };

/** What the signed head of the file's catalogue says of its content. */
export function contentDigest({ have, want, parts }: ArchiveContent): Digest {
  return digestOf({ have, want, parts: parts.map((part) => ({ ...part })) });
}

/** Header and index as they stand at the beginning of the file. */
export function encodeArchiveIndex(index: { archive: ArchiveContent; catalogue: Json }): Buffer {
  const octets = Buffer.from(canonicalJson(index as unknown as Json));
  const header = Buffer.alloc(ARCHIVE_HEADER_BYTES);
  MAGIC.copy(header);
  header.writeBigUInt64LE(BigInt(octets.length), 8);
  header.writeBigUInt64LE(BigInt(index.archive.parts.reduce((sum, part) => sum + part.sizeBytes, 0)), 16);
  createHash('sha256').update(octets).digest().copy(header, 32);
  return Buffer.concat([header, octets]);
}

/** Throws `bad_data` for octets that begin no archive file, `version_mismatch` for one of another format. */
export function parseArchiveHeader(octets: Buffer): ArchiveHeader {
  if (octets.length < ARCHIVE_HEADER_BYTES || !octets.subarray(0, 7).equals(MAGIC.subarray(0, 7))) throw badFile('it is none');
  if (octets[7] !== MAGIC[7]) {
    throw new AppError('version_mismatch', `the archive file has format ${octets[7]}, this program reads ${MAGIC[7]}`, {
      hint: 'update this server',
    });
  }
  const [indexBytes, partsBytes] = [Number(octets.readBigUInt64LE(8)), Number(octets.readBigUInt64LE(16))];
  if (indexBytes > INDEX_LIMITS.bytes || !Number.isSafeInteger(partsBytes) || octets.readBigUInt64LE(24) !== 0n) {
    throw badFile('its header declares what no archive file has');
  }
  return { indexBytes, partsBytes, digest: octets.subarray(32, 64) };
}

/** Throws `bad_data` unless these octets are the index that the header speaks of, in the form in which it is written. */
export function parseArchiveIndex(octets: Buffer, header: ArchiveHeader): ArchiveIndex {
  if (!createHash('sha256').update(octets).digest().equals(header.digest)) throw badFile('its index is damaged');
  const parsed = Index.safeParse(parseJson(octets));
  if (!parsed.success) throw badFile('its index is not one that this program reads');
  const index = parsed.data as unknown as ArchiveIndex;
  const names = new Set(index.archive.parts.map(({ name }) => name));
  const bytes = index.archive.parts.reduce((sum, part) => sum + part.sizeBytes, 0);
  if (names.size !== index.archive.parts.length || bytes !== header.partsBytes)
    throw badFile('its parts are not those that its header declares');
  return index;
}

function parseJson(octets: Buffer): unknown {
  try {
    return parseBoundedJson(octets, INDEX_LIMITS);
  } catch (error) {
    if (error instanceof AppError) throw error;
    // Not JSON is the same to the caller as JSON of another shape: the schema refuses it.
    return undefined;
  }
}

function badFile(why: string): AppError {
  return new AppError('bad_data', `this is no archive file that can be loaded: ${why}`, { hint: 'copy it again, or make it again' });
}
