import { AppError } from '../errors.ts';
import { type Digest, digestBytes, digestFromBytes } from '../ids.ts';
import { MAX_CHUNK_BYTES, MAX_DISK_BYTES, MAX_PAGE_ENTRIES } from './limits.ts';

/*
 * A page of a manifest: what lies, one after the other, in a stretch of the image. Little-endian.
 *
 *    0   4  magic `WSP1`
 *    4   1  depth: 0 for a leaf, otherwise one more than its children
 *    5   1  zero
 *    6   2  number of entries (1..4096)
 *    8      entries: kind 1, length 7 (octets of the image), and, unless it is zero or free, digest 32
 *
 * A leaf holds data, zero and free; a page above holds pages. No page knows where in the image it
 * lies, so that an unchanged stretch keeps its digests when it moves.
 */
const MAGIC = 0x31505357;
const HEADER_BYTES = 8;
const KINDS = ['data', 'zero', 'free', 'page'] as const;

export type LeafEntry =
  | { readonly kind: 'data'; readonly length: number; readonly digest: Digest }
  | { readonly kind: 'zero' | 'free'; readonly length: number };
export type PageEntry = { readonly kind: 'page'; readonly length: number; readonly digest: Digest };
export type Entry = LeafEntry | PageEntry;
export type Page = { readonly depth: number; readonly entries: readonly Entry[] };

/** The octets of a page. Its entries must fit its depth. */
export function encodePage(page: Page): Buffer {
  const parts: Buffer[] = [Buffer.alloc(HEADER_BYTES)];
  parts[0]?.writeUInt32LE(MAGIC, 0);
  parts[0]?.writeUInt8(page.depth, 4);
  parts[0]?.writeUInt16LE(page.entries.length, 6);
  for (const entry of page.entries) {
    const head = Buffer.alloc(8);
    head[0] = KINDS.indexOf(entry.kind);
    head.writeUIntLE(entry.length % 2 ** 32, 1, 4);
    head.writeUIntLE(Math.floor(entry.length / 2 ** 32), 5, 3);
    parts.push(head);
    if ('digest' in entry) parts.push(digestBytes(entry.digest));
  }
  return Buffer.concat(parts);
}

/** Reads a page that must have this depth. Throws `bad_data`. */
export function parsePage(octets: Buffer, depth: number): Page {
  if (octets.length < HEADER_BYTES || octets.readUInt32LE(0) !== MAGIC || octets[5] !== 0) throw badPage('has no page magic');
  if (octets[4] !== depth) throw badPage(`has depth ${octets[4]} where ${depth} belongs`);
  const count = octets.readUInt16LE(6);
  if (count === 0 || count > MAX_PAGE_ENTRIES) throw badPage(`claims ${count} entries (1 to ${MAX_PAGE_ENTRIES})`);
  const entries: Entry[] = [];
  let offset = HEADER_BYTES;
  for (let index = 0; index < count; index++) {
    const { entry, next } = readEntry(octets, offset, depth);
    entries.push(entry);
    offset = next;
  }
  if (offset !== octets.length) throw badPage('has octets behind its last entry');
  return { depth, entries };
}

function readEntry(octets: Buffer, offset: number, depth: number): { entry: Entry; next: number } {
  if (offset + 8 > octets.length) throw badPage('is cut short');
  const kind = KINDS[octets[offset] ?? 255];
  const length = octets.readUIntLE(offset + 1, 4) + octets.readUIntLE(offset + 5, 3) * 2 ** 32;
  if (length === 0 || length > MAX_DISK_BYTES) throw badPage(`has an extent of ${length} bytes`);
  if (kind === undefined || (kind === 'page') !== depth > 0) throw badPage(`has an entry of kind ${octets[offset]} at depth ${depth}`);
  if (kind === 'zero' || kind === 'free') return { entry: { kind, length }, next: offset + 8 };
  if (offset + 40 > octets.length) throw badPage('is cut short');
  if (kind === 'data' && length > MAX_CHUNK_BYTES) throw badPage(`has a chunk of ${length} bytes`);
  return { entry: { kind, length, digest: digestFromBytes(octets.subarray(offset + 8, offset + 40)) }, next: offset + 40 };
}

function badPage(what: string): AppError {
  return new AppError('bad_data', `a page of a manifest ${what}`, { hint: 'its source is damaged or not ours; fetch it again' });
}
