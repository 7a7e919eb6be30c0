import { READ_ENCODINGS } from '../../core/negotiate.ts';
import type { Toc } from '../../core/toc.ts';
import { asStoreError, refuseOtherThanFile, writeFileDurably } from '../../sync/content/durable.ts';
import { listPublishedContent } from '../db/images.ts';
import { listLinks } from '../db/links.ts';
import { getCatalogueNumbers } from '../db/objects.ts';
import type { Site } from '../site.ts';

/** What this server holds: `archive toc`. */
export async function readToc(site: Pick<Site, 'db' | 'self'>): Promise<Toc> {
  const [link] = await listLinks(site.db);
  const parent = link === undefined ? null : { serverId: link.parentId, epoch: link.heldEpoch, generation: link.heldGeneration };
  return {
    format: 1,
    serverId: site.self.id,
    name: site.self.name,
    ...(await getCatalogueNumbers(site.db)),
    parent,
    encodings: [...READ_ENCODINGS],
    images: await listPublishedContent(site.db),
  };
}

/** Writes it whole, or not at all. */
export async function writeToc(path: string, toc: Toc): Promise<void> {
  refuseOtherThanFile(path);
  try {
    await writeFileDurably(path, Buffer.from(`${JSON.stringify(toc)}\n`));
  } catch (error) {
    throw asStoreError(error, `writing ${path}`);
  }
}
