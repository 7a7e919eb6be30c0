import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import { type Id, newId, printable } from '../../core/ids.ts';
import { parseToc, type Toc } from '../../core/toc.ts';
import { askBelow } from '../control/ask.ts';
import { findServerBelow } from '../control/servers-below.ts';
import { type Operation, startOperation } from '../operations.ts';
import type { Site } from '../site.ts';
import { type PreparedArchive, prepareArchive } from './prepare.ts';

/** Whom an archive is for: a server below, which is asked what it holds; a table of contents that was brought; or one that has nothing. */
export type DownloadWish = { readonly want: readonly string[]; readonly server?: string | undefined; readonly toc?: unknown };

/** An archive that waits to be fetched, under the name that the file is to have. */
export type Download = { readonly archive: PreparedArchive; readonly fileName: string };
type Waiting = Download & { readonly timer: NodeJS.Timeout };

/** What waits holds its parts in the store: not for long, and not many. */
const KEPT_MS = 3_600_000;
const MOST = 4;

const downloads = new WeakMap<Site['wake'], Map<Id, Waiting>>();

function downloadsOf({ wake }: Pick<Site, 'wake'>): Map<Id, Waiting> {
  const known = downloads.get(wake) ?? new Map<Id, Waiting>();
  downloads.set(wake, known);
  return known;
}

/** Builds an archive for a browser to fetch; the operation ends with its id and size. Nothing is written but parts in the store. */
export function startDownload(site: Site, wish: DownloadWish): Operation {
  return startOperation(site, 'archive-download', async (report) => {
    const toc = await tocOf(site, wish);
    const archive = await prepareArchive(site, { want: wish.want, toc }, report);
    const fileName = `${site.self.name}-for-${toc?.name ?? 'a-new-server'}-${archive.generation}.rad`;
    const id = await keep(site, { archive, fileName });
    const { sizeBytes, images, generation, expiresAt } = archive;
    return { download: id, fileName, sizeBytes, images, generation, expiresAt } as unknown as Json;
  });
}

/** The archive of that id. Errors: `not_found` when it was let go or never was. */
export function findDownload(site: Pick<Site, 'wake'>, id: string): Download {
  const found = downloadsOf(site).get(id as Id);
  if (found !== undefined) return found;
  throw new AppError('not_found', `there is no archive ${printable(id)} to fetch`, { hint: 'it waits for an hour; make it again' });
}

async function tocOf(site: Site, { server, toc }: DownloadWish): Promise<Toc | undefined> {
  if (server === undefined) return toc === undefined ? undefined : parseToc(JSON.stringify(toc));
  const below = await findServerBelow(site.db, server);
  return parseToc(JSON.stringify(await askBelow(site, below, { kind: 'archive.toc', query: {} })));
}

async function keep(site: Site, download: Download): Promise<Id> {
  const known = downloadsOf(site);
  const id = newId(site.now());
  const timer = setTimeout(() => void drop(site, id), KEPT_MS).unref();
  known.set(id, { ...download, timer });
  for (const oldest of [...known.keys()].slice(0, Math.max(0, known.size - MOST))) await drop(site, oldest);
  return id;
}

async function drop(site: Site, id: Id): Promise<void> {
  const found = downloadsOf(site).get(id);
  if (found === undefined) return;
  clearTimeout(found.timer);
  downloadsOf(site).delete(id);
  try {
    await found.archive.release();
  } catch (error) {
    // The store is closed: with it ended what it held.
    site.log.debug('an archive was let go late', { error: String(error) });
  }
}
