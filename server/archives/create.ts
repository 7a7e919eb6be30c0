import { createReadStream } from 'node:fs';
import { type FileHandle, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type ArchiveContent, contentDigest, encodeArchiveIndex } from '../../core/archive-file.ts';
import type { Json } from '../../core/canonical-json.ts';
import type { BuiltArchive, OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import type { Image } from '../../core/image.ts';
import { encodingsFor, READ_ENCODINGS } from '../../core/negotiate.ts';
import { parseToc, type Toc } from '../../core/toc.ts';
import { asStoreError, publishFile, temporaryBeside, writeAll } from '../../sync/content/durable.ts';
import { answerCatalogue } from '../catalogue.ts';
import { listImages } from '../db/images.ts';
import { resolveImage } from '../images/reference.ts';
import type { Site } from '../site.ts';

export type ArchiveWish = {
  /** Absolute path of the file to write; it appears when it is whole, in place of what was there. */
  readonly path: string;
  /** References; none: every image that is held here. */
  readonly want: readonly string[];
  /** A file with the receiver's table of contents; none: the receiver has nothing. */
  readonly have?: string | undefined;
};

/** What was written, in the words of `archive create --json`. */
export type CreatedArchive = {
  readonly path: string;
  readonly sizeBytes: number;
  readonly images: readonly string[];
  readonly parts: readonly string[];
  readonly epoch: number;
  readonly generation: number;
  readonly expiresAt: string;
};

/** A stick may be weeks in the post; longer than 31 days nobody believes a catalogue. */
const VALID_MS = 30 * 86_400_000;

/**
 * Writes an archive file: our whole catalogue since what the receiver holds of it, and the content of the wanted images that it
 * lacks, in the parts that a run would fetch. Errors: `not_found`, `usage`, `bad_data` (table of contents), those of the store.
 */
export async function createArchive(site: Site, wish: ArchiveWish, onProgress: OnProgress = () => undefined): Promise<CreatedArchive> {
  const toc = wish.have === undefined ? undefined : parseToc(await readText(wish.have));
  const wanted = await imagesOf(site, wish.want);
  const request = await requestFor(site, wanted, toc);
  const built = await site.store.buildArchive(request, (done, total) => onProgress(done, 2 * total));
  await site.store.holdArchive(built.key);
  try {
    const content = { have: request.have, want: wanted.map(({ manifest }) => manifest).sort(), parts: built.parts };
    const catalogue = await answerCatalogue(site, { ...heldOfOurs(site, toc), archive: contentDigest(content), validMs: VALID_MS });
    const sizeBytes = await writeArchive(wish.path, { content, built, catalogue: catalogue as unknown as Json }, onProgress);
    return {
      path: wish.path,
      sizeBytes,
      images: wanted.map(({ name, version }) => `${name}@${version}`),
      parts: built.parts.map(({ name }) => name),
      epoch: catalogue.head.epoch,
      generation: catalogue.head.generation,
      expiresAt: new Date(catalogue.head.expiresAt).toISOString(),
    };
  } finally {
    await site.store.releaseArchive(built.key);
  }
}

async function imagesOf(site: Site, references: readonly string[]): Promise<readonly Image[]> {
  if (references.length === 0) return (await listImages(site.db)).filter(({ state }) => state === 'published');
  return Promise.all(references.map((reference) => resolveImage(site.db, reference)));
}

/** As a run of that server would ask: built on the versions that it has of the same names and kinds. */
async function requestFor(site: Site, wanted: readonly Image[], toc: Toc | undefined) {
  const there = toc?.images ?? [];
  const want = wanted.map(({ manifest }) => manifest).filter((manifest) => !there.some((held) => held.manifest === manifest));
  const lacking = wanted.filter(({ manifest }) => want.includes(manifest));
  const related = there.filter((held) => lacking.some(({ name, kind }) => name === held.name && kind === held.kind));
  const { complete } = await site.store.missingOf([...new Set(related.map(({ manifest }) => manifest as Digest))]);
  return { have: [...complete].sort(), want: [...new Set(want)].sort(), encodings: encodingsFor(toc?.encodings ?? READ_ENCODINGS) };
}

/** A child of ours says how far it is; anybody else is told everything. */
function heldOfOurs(site: Site, toc: Toc | undefined): { epoch: number; since: number } {
  if (toc?.parent?.serverId !== site.self.id) return { epoch: 0, since: 0 };
  return { epoch: toc.parent.epoch, since: toc.parent.generation };
}

type Filling = { readonly content: ArchiveContent; readonly built: BuiltArchive; readonly catalogue: Json };

async function writeArchive(path: string, { content, built, catalogue }: Filling, onProgress: OnProgress): Promise<number> {
  const index = encodeArchiveIndex({ archive: content, catalogue });
  const total = built.parts.reduce((sum, part) => sum + part.sizeBytes, 0);
  const temporary = temporaryBeside(path);
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await writeAll(file, index, 0);
      let at = index.length;
      for (const { name } of built.parts) {
        at = await appendFile(file, join(built.directory, name), at);
        onProgress(total + at - index.length, 2 * total);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await publishFile(temporary, path);
    return index.length + total;
  } catch (error) {
    await rm(temporary, { force: true });
    throw asStoreError(error, `writing ${path}`);
  }
}

async function appendFile(file: FileHandle, path: string, from: number): Promise<number> {
  let at = from;
  for await (const slice of createReadStream(path, { highWaterMark: 1_048_576 })) {
    await writeAll(file, slice as Buffer, at);
    at += (slice as Buffer).length;
  }
  return at;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new AppError('not_found', `cannot read ${path}: ${(cause as NodeJS.ErrnoException).code}`, { hint: 'check the path', cause });
  }
}
