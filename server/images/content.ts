import type { CheckReport, GcReport, OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import type { Image } from '../../core/image.ts';
import { refuseOtherThanFile } from '../../sync/content/durable.ts';
import { listKeptManifests, markImageVerified } from '../db/images.ts';
import type { Site } from '../site.ts';
import { resolveImage } from './reference.ts';

/** Content younger than this is kept by gc: an import or a run may still be about to name it. */
const GC_GRACE_MS = 24 * 3_600_000;

/** Reads and hashes every chunk of an image; a clean one is marked verified. Throws `not_found`. */
export async function verifyImage(
  site: Site,
  reference: string,
  onProgress?: OnProgress,
): Promise<{ readonly image: Image; readonly report: CheckReport }> {
  const image = await resolveImage(site.db, reference);
  const report = await site.store.verifyImage(image.manifest, onProgress);
  if (report.damages.length === 0) await markImageVerified(site.db, image.id, site.now());
  return { image, report };
}

/** Writes the disk of an image to `path`, bit-identical. Throws `not_found`, `bad_data` (not a disk), `usage` (no file can be there), and those of the store. */
export async function exportImage(site: Site, reference: string, path: string, onProgress?: OnProgress): Promise<Image> {
  const image = await resolveImage(site.db, reference);
  if (image.kind !== 'disk') {
    throw new AppError('bad_data', `image ${reference} is a ${image.kind} image; only disk images can be exported`, {
      hint: 'choose an image whose kind is "disk" in "image list"',
    });
  }
  refuseOtherThanFile(path);
  await site.store.exportDisk(image.manifest, path, onProgress);
  return image;
}

/** Frees what no image and no active order needs. */
export async function collectGarbage(
  site: Site,
  options: { dryRun: boolean; graceMs?: number },
  onProgress?: OnProgress,
): Promise<GcReport> {
  const roots = await listKeptManifests(site.db);
  return site.store.gc({ roots, graceMs: options.graceMs ?? GC_GRACE_MS, dryRun: options.dryRun }, onProgress);
}
