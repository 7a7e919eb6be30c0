import { open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Chunk } from '../../core/content/frame.ts';
import type { Damage, FoundDamage } from '../../core/content-store.ts';
import type { Digest } from '../../core/ids.ts';
import type { FrameRecord } from './content-index.ts';
import { syncDirectory, writeFileDurably } from './durable.ts';
import { intactChunks, rewritePack } from './rewrite-pack.ts';
import { salvageChunks, tableOf } from './salvage.ts';
import { type Found, frameRecord, scanPack } from './scan-pack.ts';
import { adoptPacks, packPath, type Store } from './store.ts';

/** Octets of damaged frames that are kept to be looked at; beyond that the oldest go. */
const KEPT_BYTES = 256 * 1024 * 1024;

const NOTHING: FoundDamage = { damages: [], lost: [] };

/**
 * Puts one pack right, after somebody met damage in it. Damaged frames are put aside under quarantine/, what can be
 * saved of them and all the rest goes to a new pack, and the rows change in one transaction: from then on nobody
 * is led to the damage. Rows that say other than the frames are written anew. Gives what was damaged and what is lost.
 */
export function mendPack(store: Store, pack: string): Promise<FoundDamage> {
  return store.moving.take(async () => {
    const isKnown = store.index.packs().some(({ name }) => name === pack);
    const isThere = await stat(packPath(store.paths, pack)).then(
      () => true,
      () => false,
    );
    if (isThere) return mendFile(store, pack);
    // A pack that was moved has no rows any more; rows without a file are wrong, and perhaps its file goes by another name.
    return isKnown ? dropRows(store, pack) : NOTHING;
  });
}

async function dropRows(store: Store, pack: string): Promise<FoundDamage> {
  const digests = store.index.framesOf(pack).flatMap(({ chunks }) => chunks.map(({ digest }) => digest));
  store.index.removePack(pack);
  await adoptPacks(store.paths, store.index, store.arriving);
  const lost = missing(store, digests);
  return { damages: [{ what: 'pack', where: `${pack}: the index named it and its file is not there` }], lost };
}

async function mendFile(store: Store, pack: string): Promise<FoundDamage> {
  const path = packPath(store.paths, pack);
  const rows = new Map(store.index.framesOf(pack).map((row) => [row.offset, row]));
  const { damages, records } = await inspect(pack, path);
  if (damages.length === 0) return mendRows(store, { pack, records, rows, bytes: (await stat(path)).size });
  const named: Digest[] = [];
  await rewritePack(store, pack, {
    salvage: async (found) => {
      const chunks: Chunk[] = [];
      for (const { octets, row } of await damagedFrames(path, found, rows)) {
        await writeFileDurably(join(store.paths.quarantine, `${pack}-${row?.offset ?? found.offset}.frame`), octets);
        chunks.push(...(await salvageChunks(octets, row)));
        named.push(...(tableOf(octets, row)?.chunks ?? []).map(({ digest }) => digest));
      }
      return chunks;
    },
  });
  await rm(path, { force: true });
  await syncDirectory(store.paths.packs);
  await forgetOldest(store.paths.quarantine);
  const lost = missing(store, named);
  return { damages: [...damages, ...lost.map((digest) => ({ what: 'chunk' as const, where: `pack ${pack}`, digest }))], lost };
}

type Inspected = { readonly damages: Damage[]; readonly records: FrameRecord[] };

async function inspect(pack: string, path: string): Promise<Inspected> {
  const inspected: Inspected = { damages: [], records: [] };
  for await (const { offset, frame, damage } of scanPack(path)) {
    const isIntact = frame !== undefined && (await intactChunks(frame)).length > 0;
    if (isIntact) inspected.records.push(frameRecord(offset, frame));
    else inspected.damages.push({ what: 'frame', where: `pack ${pack} at ${offset}: ${damage ?? 'holds other bytes than it says'}` });
  }
  return inspected;
}

type Rows = { pack: string; bytes: number; records: readonly FrameRecord[]; rows: ReadonlyMap<number, FrameRecord> };

/** All frames are right: if somebody was led astray, it was by the index. */
function mendRows(store: Store, { pack, bytes, records, rows }: Rows): FoundDamage {
  const known = store.index.packs().find(({ name }) => name === pack);
  const isSame = known?.bytes === bytes && rows.size === records.length && JSON.stringify([...rows.values()]) === JSON.stringify(records);
  if (isSame || store.arriving.has(pack)) return NOTHING;
  store.index.addPack({ name: pack, bytes }, records, pack);
  return { damages: [{ what: 'index', where: `pack ${pack}: its rows differed from its frames` }], lost: [] };
}

type DamagedFrame = { readonly octets: Buffer; readonly row: FrameRecord | undefined };

/** A damaged stretch may hold several frames with broken headers: the index knows where they begin. */
async function damagedFrames(path: string, found: Found, rows: ReadonlyMap<number, FrameRecord>): Promise<DamagedFrame[]> {
  const end = found.offset + found.bytes;
  const inside = [...rows.values()].filter(({ offset, bytes }) => offset >= found.offset && bytes > 0 && offset + bytes <= end);
  const file = await open(path, 'r');
  const read = async (offset: number, length: number): Promise<Buffer> => {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
    return buffer.subarray(0, bytesRead);
  };
  try {
    if (inside.length === 0) return [{ octets: await read(found.offset, found.bytes), row: undefined }];
    const frames: DamagedFrame[] = [];
    for (const row of inside) frames.push({ octets: await read(row.offset, row.bytes), row });
    return frames;
  } finally {
    await file.close();
  }
}

function missing(store: Store, digests: readonly Digest[]): Digest[] {
  return [...new Set(digests)].filter((digest) => !store.index.has(digest));
}

async function forgetOldest(directory: string): Promise<void> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.frame'));
  const files = await Promise.all(
    names.map(async (name) => {
      const { size, mtimeMs } = await stat(join(directory, name));
      return { name, size, mtimeMs };
    }),
  );
  let kept = 0;
  for (const { name, size } of files.sort((a, b) => b.mtimeMs - a.mtimeMs)) {
    kept += size;
    if (kept > KEPT_BYTES) await rm(join(directory, name), { force: true });
  }
}
