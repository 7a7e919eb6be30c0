import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Name } from '../../../core/ids.ts';
import { listImages } from '../../../server/db/images.ts';
import { documentsInForce } from '../../../server/documents.ts';
import type { Toolbox } from '../../../server/engine/debian/toolbox.ts';
import { verifyImage } from '../../../server/images/content.ts';
import type { Site } from '../../../server/site.ts';
import { reopenSite } from '../replication-sites.ts';
import { readDiskFolder, recoverDisk } from './disk.ts';
import type { BranchView } from './ledger.ts';

export type Row = Record<string, unknown>;

/** A branch's data directory as the power cut left it. */
export type Remains = {
  /** State of the newest run that had not ended, as the disk has it. */
  readonly runState: string | undefined;
  /** What happened at the branch itself, in order; and whose numbers these are. */
  readonly origin: string;
  readonly events: readonly Row[];
  /** Published images of which something is not there, and what is wrong with the store, in words. */
  readonly damages: readonly string[];
  /** What was in force. */
  readonly images: BranchView['images'];
  readonly documents: BranchView['documents'];
};

/**
 * Opens the disk of a machine that lost its power, beside the machine: the file system must be clean when its journal was
 * replayed, and the database must open. `/site` of the disk is left in `directory`.
 */
export async function dissect(toolbox: Toolbox, disk: string, directory: string): Promise<Remains> {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  const copy = join(directory, 'disk.raw');
  await recoverDisk(toolbox, disk, copy);
  await readDiskFolder(toolbox, copy, '/site', directory);
  await rm(copy);
  const database = join(directory, 'site/db.sqlite');
  const [run] = readRows(database, "select state from runs where state not in ('done', 'partial', 'failed') order by id desc limit 1");
  const site = await reopenSite(directory, 'site', { name: 'branch' as Name });
  try {
    const origin = site.self.id;
    const images = (await listImages(site.db)).map(({ name, version, manifest, state }) => ({
      reference: `${name}@${version}`,
      manifest,
      state,
    }));
    const documents = (await documentsInForce(site)).map(({ name, revision, content }) => ({
      name,
      revision,
      value: String((content as { value?: string }).value),
    }));
    const damages = await damagesOf(site);
    return { runState: run && String(run['state']), origin, events: readEvents(database, origin), damages, images, documents };
  } finally {
    await site.close();
  }
}

/** Every octet of the store is read, and every chunk of every published image is looked for. */
async function damagesOf(site: Site): Promise<string[]> {
  const found = (await site.store.check()).damages.map(({ what, where }) => `${what} ${where}`);
  for (const { name, version, state } of await listImages(site.db)) {
    if (state !== 'published') continue;
    const { report } = await verifyImage(site, `${name}@${version}`);
    found.push(...report.damages.map(({ what, where }) => `${name}@${version}: ${what} ${where}`));
  }
  return found;
}

/** What happened at `origin`, as this database has it: (seq, …) in order. */
export function readEvents(database: string, origin: string): Row[] {
  return readRows(database, 'select seq, at, actor, kind, subject, data from events where origin = ? order by seq', origin);
}

export function readRows(database: string, sql: string, ...parameters: string[]): Row[] {
  const db = new DatabaseSync(database);
  try {
    const rows = db.prepare(sql).all(...parameters);
    return rows.map((row) => ({ ...row }));
  } finally {
    db.close();
  }
}
