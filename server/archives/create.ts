import { open, readFile, rm } from 'node:fs/promises';
import type { OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import { parseToc } from '../../core/toc.ts';
import { asStoreError, publishFile, refuseOtherThanFile, temporaryBeside, writeAll } from '../../sync/content/durable.ts';
import type { Site } from '../site.ts';
import { type ArchiveSummary, type PreparedArchive, prepareArchive } from './prepare.ts';

export type ArchiveWish = {
  /** Absolute path of the file to write; it appears when it is whole, in place of what was there. */
  readonly path: string;
  /** References; none: every image that is held here. */
  readonly want: readonly string[];
  /** A file with the receiver's table of contents; none: the receiver has nothing. */
  readonly have?: string | undefined;
};

/** What was written, in the words of `archive create --json`. */
export type CreatedArchive = ArchiveSummary & { readonly path: string };

/**
 * Writes an archive file: what `prepareArchive` makes, on the disk of this machine. Errors: its own, and `bad_data` for a table of
 * contents that is none.
 */
export async function createArchive(site: Site, wish: ArchiveWish, onProgress: OnProgress = () => undefined): Promise<CreatedArchive> {
  refuseOtherThanFile(wish.path);
  const toc = wish.have === undefined ? undefined : parseToc(await readText(wish.have));
  const prepared = await prepareArchive(site, { want: wish.want, toc }, (done, total) => onProgress(done, 2 * total));
  try {
    await writeArchive(wish.path, prepared, onProgress);
    const { octets: _octets, release: _release, ...summary } = prepared;
    return { path: wish.path, ...summary };
  } finally {
    await prepared.release();
  }
}

async function writeArchive(path: string, { sizeBytes, octets }: PreparedArchive, onProgress: OnProgress): Promise<void> {
  const temporary = temporaryBeside(path);
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      let at = 0;
      for await (const slice of octets()) {
        await writeAll(file, slice, at);
        at += slice.length;
        onProgress(sizeBytes + at, 2 * sizeBytes);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await publishFile(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw asStoreError(error, `writing ${path}`);
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new AppError('not_found', `cannot read ${path}: ${(cause as NodeJS.ErrnoException).code}`, { hint: 'check the path', cause });
  }
}
