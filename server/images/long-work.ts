import { isAbsolute } from 'node:path';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import { type EngineImport, importEngine } from '../engine/publish.ts';
import type { Site } from '../site.ts';
import { collectGarbage, exportImage, verifyImage } from './content.ts';
import { type ImportRequest, importImage } from './import.ts';
import { viewImage, viewReport } from './view.ts';

/** Long work on images and the store: what is asked for, as it travels in a request. */
export type Work =
  | ({ readonly kind: 'import' } & Omit<ImportRequest, 'actor'>)
  | ({ readonly kind: 'engine' } & EngineImport)
  | { readonly kind: 'verify'; readonly reference: string }
  | { readonly kind: 'export'; readonly reference: string; readonly path: string }
  | { readonly kind: 'check'; readonly repair: boolean }
  | { readonly kind: 'gc'; readonly dryRun: boolean; readonly graceMs?: number | undefined };

/** Does one piece of work and gives the document it ends with: the same through the API and under the lock. */
export async function doWork(site: Site, work: Work, actor: string, report: (done: number, total: number) => void): Promise<Json> {
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
    case 'check':
      if (work.repair) await site.store.rebuildIndex(report);
      return viewReport(await site.store.check({ quarantine: work.repair }, report));
    case 'gc': {
      const grace = work.graceMs === undefined ? {} : { graceMs: work.graceMs };
      return { ...(await collectGarbage(site, { dryRun: work.dryRun, ...grace }, report)), dryRun: work.dryRun };
    }
  }
}

/** The server's working directory is nobody's business. */
function absolute(path: string): string {
  if (isAbsolute(path)) return path;
  throw new AppError('usage', 'the path of a file must be absolute', { hint: 'begin it with /' });
}
