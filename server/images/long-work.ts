import { isAbsolute } from 'node:path';
import type { Json } from '../../core/canonical-json.ts';
import type { OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import { type ArchiveWish, createArchive } from '../archives/create.ts';
import { loadArchive } from '../archives/load.ts';
import { type BackupWish, createBackup } from '../backup/create.ts';
import type { FetchChunks } from '../care/repair-run.ts';
import { repairStore } from '../care/repair-store.ts';
import { listSpareImages } from '../care/spare.ts';
import { type EngineImport, importEngine } from '../engine/publish.ts';
import type { Site } from '../site.ts';
import { collectGarbage, exportImage, verifyImage } from './content.ts';
import { type ImportRequest, importImage } from './import.ts';
import { viewImage, viewRepair, viewReport } from './view.ts';

/** Long work on images and the store: what is asked for, as it travels in a request. */
export type Work =
  | ({ readonly kind: 'import' } & Omit<ImportRequest, 'actor'>)
  | ({ readonly kind: 'engine' } & EngineImport)
  | { readonly kind: 'verify'; readonly reference: string }
  | { readonly kind: 'export'; readonly reference: string; readonly path: string }
  | ({ readonly kind: 'archive-create' } & ArchiveWish)
  | { readonly kind: 'archive-load'; readonly path: string }
  | ({ readonly kind: 'backup' } & Omit<BackupWish, 'actor'>)
  | { readonly kind: 'check'; readonly repair: boolean }
  | { readonly kind: 'gc'; readonly dryRun: boolean; readonly graceMs?: number | undefined };

/** Who asks, whom to tell how far it is, and how chunks are fetched (`fetchThroughQueue` in a running server). */
export type Asked = { readonly actor: string; readonly report: OnProgress; readonly fetchChunks: FetchChunks };

/** Does one piece of work and gives the document it ends with: the same through the API and under the lock. */
export async function doWork(site: Site, work: Work, { actor, report, fetchChunks }: Asked): Promise<Json> {
  switch (work.kind) {
    case 'import':
      return viewImage(await importImage(site, { ...work, path: absolute(work.path), actor }, report));
    case 'engine':
      return viewImage(await importEngine(site, { ...work, path: absolute(work.path), actor }, report));
    case 'verify': {
      const verified = await verifyImage(site, work.reference, report);
      return { image: viewImage(verified.image), ...viewReport(verified.report) };
    }
    case 'export':
      return { image: viewImage(await exportImage(site, work.reference, absolute(work.path), report)), path: work.path };
    case 'archive-create': {
      const have = work.have === undefined ? undefined : absolute(work.have);
      return { ...(await createArchive(site, { want: work.want, path: absolute(work.path), have }, report)) };
    }
    case 'archive-load':
      return { ...(await loadArchive(site, { path: absolute(work.path), actor }, report)) };
    case 'backup':
      return { ...(await createBackup(site, { ...work, path: absolute(work.path), actor }, report)) };
    case 'check':
      return work.repair ? viewRepair(await repairStore(site, fetchChunks, report)) : viewReport(await site.store.check({}, report));
    case 'gc': {
      const grace = work.graceMs === undefined ? {} : { graceMs: work.graceMs };
      const collected = await collectGarbage(site, { dryRun: work.dryRun, ...grace }, report);
      const spare = work.dryRun ? { spare: (await listSpareImages(site)).map((image) => ({ ...image })) } : {};
      return { ...collected, dryRun: work.dryRun, ...spare };
    }
  }
}

/** The server's working directory is nobody's business. */
function absolute(path: string): string {
  if (isAbsolute(path)) return path;
  throw new AppError('usage', 'the path of a file must be absolute', { hint: 'begin it with /' });
}
