import { open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { AppError } from '../../core/errors.ts';
import { type Id, newId, printable } from '../../core/ids.ts';
import { asStoreError, writeAll } from '../../sync/content/durable.ts';
import { type Operation, startOperation } from '../operations.ts';
import type { Site } from '../site.ts';
import { loadArchive } from './load.ts';

/**
 * An archive file on its way here from a browser, piece by piece: each piece is a request of its own, so that a broken link costs one
 * piece and no request lasts longer than the listener allows. Nothing of it is believed before all of it is here. It lies in
 * DIR/store/tmp, which the next start empties.
 */
export type UploadView = { readonly id: Id; readonly sizeBytes: number; readonly doneBytes: number; readonly pieceBytes: number };
type Upload = { readonly path: string; readonly sizeBytes: number; doneBytes: number; touchedAt: number; isBusy: boolean };

/** What one request brings: half a minute at 2 Mbit/s, and never in memory as a whole. */
export const PIECE_BYTES = 8 * 1_048_576;
const MOST = 4;
const IDLE_MS = 3_600_000;

const uploads = new WeakMap<Site['wake'], Map<Id, Upload>>();

function uploadsOf({ wake }: Pick<Site, 'wake'>): Map<Id, Upload> {
  const known = uploads.get(wake) ?? new Map<Id, Upload>();
  uploads.set(wake, known);
  return known;
}

/** Begins an upload. Errors: `disk_full` when there is no room for it, `busy` when too many are under way. */
export async function createUpload(site: Site, sizeBytes: number): Promise<UploadView> {
  const known = uploadsOf(site);
  for (const [id, upload] of known) if (!upload.isBusy && site.now() - upload.touchedAt > IDLE_MS) await dropUpload(site, id);
  if (known.size >= MOST) throw new AppError('busy', `${MOST} uploads are under way`, { hint: 'end one of them, or wait an hour' });
  await requireRoom(site, sizeBytes);
  const id = newId(site.now());
  const path = join(site.dataDir, 'store', 'tmp', `upload-${id}.rad`);
  await (await open(path, 'wx', 0o600)).close();
  known.set(id, { path, sizeBytes, doneBytes: 0, touchedAt: site.now(), isBusy: false });
  return viewUpload(site, id);
}

/** Errors: `not_found`. */
export function viewUpload(site: Site, id: string): UploadView {
  const { sizeBytes, doneBytes } = findUpload(site, id);
  return { id: id as Id, sizeBytes, doneBytes, pieceBytes: PIECE_BYTES };
}

/**
 * Takes the piece that begins at `offset`; it counts when all of it is written. Errors: `wrong_state` for another offset than the next
 * and while a piece is being taken, `bad_data` for a piece that is too long or breaks off, `disk_full`.
 */
export async function takePiece(site: Site, id: string, { offset, body }: { offset: number; body: Readable }): Promise<UploadView> {
  const upload = findUpload(site, id);
  if (upload.isBusy || offset !== upload.doneBytes) {
    throw new AppError('wrong_state', `the next piece begins at ${upload.doneBytes}`, { hint: 'ask how far the upload is' });
  }
  upload.isBusy = true;
  try {
    const most = Math.min(PIECE_BYTES, upload.sizeBytes - offset);
    upload.doneBytes = offset + (await writePiece(upload.path, { offset, body, most }));
    upload.touchedAt = site.now();
  } finally {
    upload.isBusy = false;
  }
  return viewUpload(site, id);
}

type Piece = { readonly offset: number; readonly body: Readable; readonly most: number };

async function writePiece(path: string, { offset, body, most }: Piece): Promise<number> {
  const file = await open(path, 'r+');
  let taken = 0;
  try {
    for await (const slice of body as AsyncIterable<Buffer>) {
      if (taken + slice.length > most)
        throw new AppError('bad_data', `a piece here has at most ${most} bytes`, { hint: 'send it in smaller ones' });
      await writeAll(file, slice, offset + taken);
      taken += slice.length;
    }
    return taken;
  } catch (error) {
    throw asStoreError(error, 'taking an archive file');
  } finally {
    await file.close();
  }
}

/** Loads what was uploaded, as `archive load` does; the file is gone afterwards, however it ended. Errors: `wrong_state` before it is whole. */
export function loadUpload(site: Site, id: string, actor: string): Operation {
  const upload = findUpload(site, id);
  if (upload.isBusy || upload.doneBytes !== upload.sizeBytes) {
    throw new AppError('wrong_state', `${upload.doneBytes} of ${upload.sizeBytes} bytes are here`, { hint: 'send the rest first' });
  }
  upload.isBusy = true;
  return startOperation(site, 'archive-load', async (report) => {
    try {
      return { ...(await loadArchive(site, { path: upload.path, actor }, report)) };
    } finally {
      await dropUpload(site, id);
    }
  });
}

/** Forgets an upload and its file. Harmless to repeat. */
export async function dropUpload(site: Site, id: string): Promise<void> {
  const upload = uploadsOf(site).get(id as Id);
  if (upload === undefined) return;
  uploadsOf(site).delete(id as Id);
  await rm(upload.path, { force: true });
}

function findUpload(site: Pick<Site, 'wake'>, id: string): Upload {
  const upload = uploadsOf(site).get(id as Id);
  if (upload !== undefined) return upload;
  throw new AppError('not_found', `there is no upload ${printable(id)}`, { hint: 'begin it again' });
}

/** The file, and at the end as much again in the store, beside the reserve. */
async function requireRoom(site: Site, sizeBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(site.dataDir);
  const needed = 2 * sizeBytes + site.config.storeReserveBytes;
  if (bavail * bsize >= needed) return;
  throw new AppError(
    'disk_full',
    `an archive of ${sizeBytes} bytes needs ${needed} bytes of free space here, there are ${bavail * bsize}`,
    {
      hint: 'make room: waystation store gc, or a larger disk',
    },
  );
}
