import { contentDigest } from '../../core/archive-file.ts';
import type { Envelope } from '../../core/envelope.ts';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import type { CatalogueHead } from '../../core/sync-protocol.ts';
import { getLinkToParent, type Link } from '../db/links.ts';
import { getPeer } from '../db/peers.ts';
import { getServer, listServers } from '../db/servers.ts';
import { verifySigned } from '../replication/verify-catalogue.ts';
import type { Site } from '../site.ts';
import type { OpenedArchive } from './open-file.ts';

/** What a file may do here. With a `link` it is our parent's catalogue, and after it we hold that generation. */
export type VerifiedArchive = {
  readonly head: CatalogueHead;
  readonly objects: readonly Envelope[];
  readonly link: Link | undefined;
  /** Whether the generation that we hold goes on to the file's: not for one that is older. */
  readonly isNews: boolean;
};

/**
 * Checks what an archive file says against the servers that we know, as a run does: signer, age, every object; and that
 * its content is what was signed. Our parent's file is taken whole; of anybody else's only the images that it brings.
 *
 * Throws `bad_signature`, `expired`, `version_mismatch`, `bad_data`, `revoked`; `mismatch` for a lower epoch than we hold, and for
 * a file that begins behind what we hold.
 */
export async function verifyArchive(site: Site, opened: OpenedArchive): Promise<VerifiedArchive> {
  const serverId = makerOf(opened.catalogue);
  if (serverId === site.self.id) {
    throw new AppError('bad_data', 'the archive file was made by this very server', { hint: 'load it at another one' });
  }
  const maker = await getServer(site.db, serverId);
  if (maker?.state === 'revoked') throw new AppError('revoked', `the archive file was made by ${maker.name}, which is revoked`, {});
  if (maker === undefined) await refuseStranger(site, serverId);
  const { head, objects } = await verifySigned(site, serverId, opened.catalogue);
  if (head.archive !== contentDigest(opened.archive)) {
    throw new AppError('bad_signature', 'the content of the archive file is not what its maker signed', {
      hint: 'nothing of it was taken',
    });
  }
  const link = await getLinkToParent(site.db, serverId);
  if (link === undefined) return { head, objects: objects.filter((object) => isBrought(object, opened)), link, isNews: false };
  return { head, objects, link, isNews: compare(head, link) };
}

/** A server that is alone trusts nobody yet: said as such, since a seed that is loaded before the server joins is an easy mistake. */
async function refuseStranger(site: Site, serverId: Id): Promise<void> {
  if ((await listServers(site.db)).some(({ id }) => id !== site.self.id) || (await getPeer(site.db, serverId)) !== undefined) return;
  throw new AppError('bad_signature', 'this server has not joined any other, so there is nobody yet whose archive files it believes', {
    hint: 'nothing was taken; first "waystation server join URL", then load it',
  });
}

/** A file in the post may be overtaken by the link: then its content is welcome, and its catalogue tells nothing new. */
function compare(head: CatalogueHead, link: Link): boolean {
  const isSameEpoch = head.epoch === link.heldEpoch;
  const held = `this server holds epoch ${link.heldEpoch}, generation ${link.heldGeneration}`;
  if (head.epoch < link.heldEpoch) {
    throw new AppError('mismatch', `the archive file is of epoch ${head.epoch}; ${held}: going back is refused`, {
      hint: 'make a new one',
    });
  }
  if (head.since > (isSameEpoch ? link.heldGeneration : 0)) {
    throw new AppError('mismatch', `the archive file begins behind generation ${head.since}; ${held}`, {
      hint: 'make it with the table of contents of this server: archive toc',
    });
  }
  return !isSameEpoch || head.generation >= link.heldGeneration;
}

function isBrought({ kind, body }: Envelope, { archive }: OpenedArchive): boolean {
  return kind === 'image' && (archive.want as readonly unknown[]).includes((body as { manifest?: unknown } | null)?.manifest);
}

function makerOf(catalogue: unknown): Id {
  const id = (catalogue as { head?: { serverId?: unknown } } | null)?.head?.serverId;
  if (typeof id === 'string') return id as Id;
  throw new AppError('bad_data', 'the archive file does not say who made it', { hint: 'make it again' });
}
