import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { type ArchiveContent, contentDigest, encodeArchiveIndex } from '../../core/archive-file.ts';
import type { Json } from '../../core/canonical-json.ts';
import type { BuiltArchive, OnProgress } from '../../core/content-store.ts';
import type { Digest } from '../../core/ids.ts';
import type { Image } from '../../core/image.ts';
import { encodingsFor, READ_ENCODINGS } from '../../core/negotiate.ts';
import type { Toc } from '../../core/toc.ts';
import { answerCatalogue } from '../catalogue.ts';
import { listImages } from '../db/images.ts';
import { resolveImage } from '../images/reference.ts';
import type { Site } from '../site.ts';

/** What an archive brings, in the words of `archive create --json`. */
export type ArchiveSummary = {
  readonly sizeBytes: number;
  readonly images: readonly string[];
  readonly parts: readonly string[];
  readonly epoch: number;
  readonly generation: number;
  readonly expiresAt: string;
};

/** An archive whose parts lie in the store and stay there until `release`; `octets` gives the file from its beginning. */
export type PreparedArchive = ArchiveSummary & { octets(): AsyncGenerator<Buffer>; release(): Promise<void> };

/** References (none: every image that is held here), and what the receiver holds (none: nothing). */
export type ArchiveFor = { readonly want: readonly string[]; readonly toc: Toc | undefined };

/** A stick may be weeks in the post; longer than 31 days nobody believes a catalogue. */
const VALID_MS = 30 * 86_400_000;

/**
 * Our whole catalogue since what the receiver holds of it, and the content of the wanted images that it lacks, in the parts that a
 * run would fetch. Nothing is copied: the parts are those of the store. Errors: `not_found`, `usage`, those of the store.
 */
export async function prepareArchive(site: Site, { want, toc }: ArchiveFor, onProgress: OnProgress): Promise<PreparedArchive> {
  const wanted = await imagesOf(site, want);
  const request = await requestFor(site, wanted, toc);
  const built = await site.store.buildArchive(request, onProgress);
  await site.store.holdArchive(built.key);
  const release = () => site.store.releaseArchive(built.key);
  try {
    const content = { have: request.have, want: wanted.map(({ manifest }) => manifest).sort(), parts: built.parts };
    return {
      ...(await signContent(site, { content, built, toc })),
      images: wanted.map(({ name, version }) => `${name}@${version}`),
      release,
    };
  } catch (error) {
    await release();
    throw error;
  }
}

type Content = { readonly content: ArchiveContent; readonly built: BuiltArchive; readonly toc: Toc | undefined };

async function signContent(site: Site, { content, built, toc }: Content): Promise<Omit<PreparedArchive, 'images' | 'release'>> {
  const catalogue = await answerCatalogue(site, { ...heldOfOurs(site, toc), archive: contentDigest(content), validMs: VALID_MS });
  const index = encodeArchiveIndex({ archive: content, catalogue: catalogue as unknown as Json });
  const { epoch, generation, expiresAt } = catalogue.head;
  return {
    sizeBytes: built.parts.reduce((sum, part) => sum + part.sizeBytes, index.length),
    parts: built.parts.map(({ name }) => name),
    ...{ epoch, generation, expiresAt: new Date(expiresAt).toISOString() },
    octets: () => octetsOf(index, built),
  };
}

async function* octetsOf(index: Buffer, { directory, parts }: BuiltArchive): AsyncGenerator<Buffer> {
  yield index;
  for (const { name } of parts) yield* createReadStream(join(directory, name), { highWaterMark: 1_048_576 }) as AsyncIterable<Buffer>;
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
