import { createHash } from 'node:crypto';
import { z } from 'zod';
import { parseBoundedJson } from './bounded-json.ts';
import { AppError } from './errors.ts';

/*
 * A backup of one server as one file, F.wsb. It is written from front to back, so what it holds stands at its end:
 *
 *    0    8  `WSBKUP\0\1`, the last octet is the format
 *    8       the members, one after the other, nothing between them
 *            the manifest: JSON, BackupManifest
 *  -64    8  where the manifest begins, little-endian
 *  -56    8  octets of the manifest, little-endian
 *  -48   32  SHA-256 of the manifest, which holds that of every member
 *  -16    8  zeros
 *   -8    8  `WSBKUP\0\1` again, and nothing behind it
 */
export const BACKUP_HEADER_BYTES = 8;
export const BACKUP_TRAILER_BYTES = 64;
const MAGIC = Buffer.from('WSBKUP\0\x01', 'latin1');
const MANIFEST_LIMITS = { bytes: 64 * 1_048_576, values: 4_000_000 };

const uuid = '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}';
const word = '[a-z0-9][a-z0-9._-]{0,62}';
const KEY_FILES = `ca\\.key|ca\\.pem|leaf\\.pem|signing\\.key|parent/${uuid}\\.pem`;
/** All that a member may be called. A name becomes a path, so nothing else is taken from a file that somebody brings. */
const MEMBER = new RegExp(
  `^(files/(waystation\\.yaml|server-id|keys/(${KEY_FILES})|datasources\\.d/${word}\\.yaml)|tables/[a-z_]{1,64}|images|packs/${uuid})$`,
);

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.number().int().nonnegative();

const Member = z.object({
  /** `files/…` below the data directory, `tables/NAME` and `images` as JSON lines, `packs/ID` of the content store. */
  name: z.string().regex(MEMBER),
  encoding: z.enum(['none', 'zstd']),
  offset: count,
  bytes: count,
  /** Of the octets in the file. */
  sha256,
  /** Lines of a table, or of the list of images. */
  rows: count.optional(),
});
export type BackupMember = z.infer<typeof Member>;

const Manifest = z.object({
  /** The release that wrote it. */
  program: z.string().max(32),
  /** The last schema change of the database it was taken from. */
  schema: z.string().max(64),
  createdAt: z.iso.datetime(),
  server: z.object({ id: z.string().regex(new RegExp(`^${uuid}$`)), name: z.string().max(63) }),
  epoch: count,
  generation: count,
  /** Whether the packs are in it. */
  content: z.enum(['reference', 'whole']),
  members: z.array(Member).max(1_000_000),
});
export type BackupManifest = z.infer<typeof Manifest>;
export type BackupContent = BackupManifest['content'];

export type BackupTrailer = { readonly offset: number; readonly bytes: number; readonly digest: Buffer };

/** What the file begins with. */
export function backupHeader(): Buffer {
  return Buffer.from(MAGIC);
}

/** Manifest and trailer as they end a file whose members end at `offset`. */
export function encodeBackupEnd(manifest: BackupManifest, offset: number): Buffer {
  const octets = Buffer.from(JSON.stringify(manifest));
  const trailer = Buffer.alloc(BACKUP_TRAILER_BYTES);
  trailer.writeBigUInt64LE(BigInt(offset), 0);
  trailer.writeBigUInt64LE(BigInt(octets.length), 8);
  createHash('sha256').update(octets).digest().copy(trailer, 16);
  MAGIC.copy(trailer, 56);
  return Buffer.concat([octets, trailer]);
}

/** Throws `bad_data` for octets that begin no backup, `version_mismatch` for one of another format. */
export function checkBackupHeader(octets: Buffer): void {
  if (octets.length < BACKUP_HEADER_BYTES || !octets.subarray(0, 7).equals(MAGIC.subarray(0, 7))) throw badBackup('it is none');
  if (octets[7] === MAGIC[7]) return;
  throw new AppError('version_mismatch', `the backup has format ${octets[7]}, this program reads ${MAGIC[7]}`, {
    hint: 'restore it with the release that made it, or a later one',
  });
}

/** Reads the last 64 octets of a file of `sizeBytes`. Throws `bad_data` for a file that is cut off or goes on behind its end. */
export function parseBackupTrailer(octets: Buffer, sizeBytes: number): BackupTrailer {
  const isTrailer = octets.length === BACKUP_TRAILER_BYTES && octets.subarray(56).equals(MAGIC) && octets.readBigUInt64LE(48) === 0n;
  if (!isTrailer) throw badBackup('it does not end as a backup does: it is cut off, or something was appended');
  const [offset, bytes] = [Number(octets.readBigUInt64LE(0)), Number(octets.readBigUInt64LE(8))];
  if (bytes > MANIFEST_LIMITS.bytes || offset + bytes + BACKUP_TRAILER_BYTES !== sizeBytes)
    throw badBackup(`its end speaks of ${offset + bytes + BACKUP_TRAILER_BYTES} bytes, and it has ${sizeBytes}`);
  return { offset, bytes, digest: octets.subarray(16, 48) };
}

/**
 * Throws `bad_data` unless these octets are the manifest of which the trailer speaks, with members that fill the
 * file from its header to the manifest, each name once.
 */
export function parseBackupManifest(octets: Buffer, trailer: BackupTrailer): BackupManifest {
  if (!createHash('sha256').update(octets).digest().equals(trailer.digest)) throw badBackup('its manifest is damaged');
  const parsed = Manifest.safeParse(parseJson(octets));
  if (!parsed.success) throw badBackup('its manifest is not one that this program reads');
  let end = BACKUP_HEADER_BYTES;
  for (const member of parsed.data.members) {
    if (member.offset !== end) throw badBackup(`its manifest leaves a gap before ${member.name}`);
    end += member.bytes;
  }
  const names = new Set(parsed.data.members.map(({ name }) => name));
  if (end !== trailer.offset || names.size !== parsed.data.members.length) throw badBackup('its manifest does not describe it');
  return parsed.data;
}

function parseJson(octets: Buffer): unknown {
  try {
    return parseBoundedJson(octets, MANIFEST_LIMITS);
  } catch (error) {
    if (error instanceof AppError) throw error;
    // Not JSON is the same to the caller as JSON of another shape: the schema refuses it.
    return undefined;
  }
}

/** `bad_data`: the octets are no backup that can be believed. */
export function badBackup(why: string): AppError {
  return new AppError('bad_data', `this is no backup that can be restored: ${why}`, { hint: 'copy it again, or take another one' });
}
