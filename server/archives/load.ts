import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { OnProgress } from '../../core/content-store.ts';
import type { Envelope } from '../../core/envelope.ts';
import type { Digest, Id } from '../../core/ids.ts';
import { requireRoom } from '../../sync/replicate/free-space.ts';
import { parseImageBody } from '../../sync/replicate/image-body.ts';
import { lockPart } from '../../sync/replicate/incoming.ts';
import { sumBytes } from '../../sync/replicate/plan.ts';
import { requireQuota } from '../care/quota.ts';
import { serverName } from '../control/servers-below.ts';
import { appendEvent } from '../db/events.ts';
import { getLink, updateLinkHeld } from '../db/links.ts';
import { inTransaction } from '../db/open.ts';
import { freeBytes } from '../free-bytes.ts';
import { IMAGES } from '../holdings/activation.ts';
import { shareBytes } from '../holdings/wanted.ts';
import { noteKept } from '../replication/new-epoch.ts';
import { publishReplicas } from '../replication/publish.ts';
import type { Site } from '../site.ts';
import { checkParts, extractPart, type OpenedArchive, openArchiveFile } from './open-file.ts';
import { type VerifiedArchive, verifyArchive } from './verify.ts';

/** What a file brought, in the words of `archive load --json`. */
export type LoadedArchive = {
  readonly server: Id;
  /** What that server is called here; its id when nobody told us. */
  readonly serverName: string;
  readonly epoch: number;
  readonly generation: number;
  /** Whether the link to that server holds this generation now: the next run fetches the difference only. */
  readonly held: boolean;
  readonly taken: number;
  readonly removed: number;
  /** Images that were known before and whose content is here now. */
  readonly raised: number;
  /** Manifests that the file was to bring and that are not whole here: it was made for a server that holds more. */
  readonly incomplete: readonly string[];
  readonly conflicts: readonly string[];
};

/**
 * Takes an archive file as a run takes what comes over a link: all is verified before anything counts, parts go through
 * the same unpacking, and one transaction makes everything visible. Loading a file again is harmless.
 *
 * Errors: those of `openArchiveFile` and `verifyArchive`, `disk_full`.
 */
export async function loadArchive(
  site: Site,
  { path, actor }: { readonly path: string; readonly actor: string },
  onProgress: OnProgress = () => undefined,
): Promise<LoadedArchive> {
  const opened = await openArchiveFile(path);
  const verified = await verifyArchive(site, opened);
  const total = 2 * sumBytes(opened.parts);
  let done = 0;
  const onBytes = (bytes: number) => {
    done += bytes;
    onProgress(done, total);
  };
  await checkParts(opened, onBytes);
  await unpackParts(site, opened, onBytes);
  const loaded = await publish(site, { opened, verified, actor });
  site.wake.notify('events');
  site.wake.notify(IMAGES);
  return loaded;
}

async function unpackParts(site: Site, opened: OpenedArchive, onBytes: (bytes: number) => void): Promise<void> {
  const want = opened.archive.want;
  if ((await site.store.missingOf(want)).complete.length === want.length) return;
  const incoming = join(site.dataDir, 'store', 'incoming');
  await mkdir(incoming, { recursive: true, mode: 0o700 });
  const sizes = opened.parts.map((part) => part.sizeBytes);
  const tools = { incoming, reserveBytes: site.config.storeReserveBytes, freeBytes: () => freeBytes(incoming) };
  const partsBytes = sumBytes(opened.parts);
  await requireRoom(tools, partsBytes + Math.max(0, ...sizes));
  await requireQuota(site, partsBytes);
  for (const part of opened.parts) {
    const locked = await lockPart(incoming, part.name);
    try {
      await extractPart(opened, part, locked.path);
      await site.store.unpackPart(locked.path);
    } finally {
      await locked.remove();
      await locked.release();
    }
    onBytes(part.sizeBytes);
  }
}

type Publication = { readonly opened: OpenedArchive; readonly verified: VerifiedArchive; readonly actor: string };

async function publish(site: Site, { opened, verified, actor }: Publication): Promise<LoadedArchive> {
  const { head, link } = verified;
  const named = [...new Set([...opened.archive.want, ...verified.objects.flatMap(manifestOf)])];
  const complete = new Set((await site.store.missingOf(named, { areToStay: true })).complete);
  const incomplete = opened.archive.want.filter((manifest) => !complete.has(manifest));
  // A stranger to our link brings images, not news of images: what is not whole is left out.
  const objects =
    link === undefined ? verified.objects.filter((object) => manifestOf(object).every((one) => complete.has(one))) : verified.objects;
  const at = site.now();
  const content = {
    storedBytes: await shareBytes(site.db, sumBytes(opened.parts), { want: opened.archive.want, objects }),
    isComplete: (manifest: Digest) => complete.has(manifest),
    isAbsent: () => false,
  };
  const server = head.serverId as Id;
  return inTransaction(site.db, async (trx) => {
    if (link !== undefined && verified.isNews) await noteKept(site, trx, link, { epoch: head.epoch, objects });
    const { taken, removed, raised, conflicts } = await publishReplicas(site, trx, objects, { at, content });
    const { epoch, generation } = head;
    if (link !== undefined && verified.isNews) {
      // What the parent said on the day on which the file was written: of today it proves nothing.
      const heardAt = Math.max((await getLink(trx, link.id))?.lastRunAt ?? 0, Math.min(head.issuedAt, at));
      // Without the mark: nobody signed that, and a wrong one would make the link refuse its own parent.
      await updateLinkHeld(trx, link.id, { epoch, generation, at: heardAt });
    }
    const loaded = {
      server,
      serverName: await serverName(trx, server),
      epoch,
      generation,
      held: verified.isNews,
      taken,
      removed,
      raised,
      incomplete,
      conflicts,
    };
    await appendEvent(trx, { origin: site.self.id, at, actor, kind: 'archive.loaded', subject: server, data: loaded });
    return loaded;
  });
}

function manifestOf(object: Envelope): Digest[] {
  return object.kind === 'image' && object.body !== null ? [parseImageBody(object).manifest] : [];
}
