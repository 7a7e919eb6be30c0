import type { Duplex } from 'node:stream';
import type { Json } from '../../../core/canonical-json.ts';
import { OfferedObject, TunnelQuery } from '../../../core/control-protocol.ts';
import { AppError } from '../../../core/errors.ts';
import { type Id, newId } from '../../../core/ids.ts';
import { ArchiveRequest } from '../../../core/sync-protocol.ts';
import { onceClosed } from '../../../sync/tunnel/once-closed.ts';
import { getImage, listImages } from '../../db/images.ts';
import { getLinkToParent } from '../../db/links.ts';
import { getObject } from '../../db/objects.ts';
import { getOffer, listOffers } from '../../db/offers.ts';
import { listSuccessions } from '../../db/successions.ts';
import { offerArchive, takeArchive } from '../../replication/archive-shelf.ts';
import { serveUpwards } from '../../replication/serve-tunnel.ts';
import type { Site } from '../../site.ts';
import { vouchFor } from '../../trust/endorse.ts';
import { askBelow } from '../ask.ts';
import type { ParentChannel } from '../parent-channel.ts';
import type { ServerBelow } from '../servers-below.ts';
import { issueTicket } from './tickets.ts';

/** The questions of a server above about what we offer. It gets nothing by them that was not offered, or is from above. */

/** The signed object of an offer. Throws `not_found`. */
export async function answerObject(site: Site, query: Json): Promise<Json> {
  const imageId = (query as { imageId?: unknown } | null)?.imageId;
  const object = typeof imageId === 'string' && (await getOffer(site.db, imageId)) ? await getObject(site.db, imageId as Id) : undefined;
  if (object === undefined) throw new AppError('not_found', 'this image is not offered');
  return { object, signers: [site.keys.signer], endorsements: [] } as unknown as Json;
}

/** A relay vouches for who enrolled at it, so that the server above can believe in the object. */
export async function addVouchers(site: Site, answer: Json): Promise<Json> {
  const { object, signers, endorsements } = OfferedObject.parse(answer);
  const ours = await vouchFor(site, [object.origin as Id]);
  return {
    object,
    signers: [...signers, ...ours.signers, site.keys.signer],
    endorsements: [...endorsements, ...ours.endorsements],
  } as unknown as Json;
}

/**
 * The archive of offered images for a server above, or how far its building is; also of images that it made itself, or another server above
 * us, or one whose place such a server took: what it lost it gets back. Throws `not_permitted` for any other.
 */
export async function answerArchive(site: Site, query: Json, parentId: Id): Promise<Json> {
  const request = ArchiveRequest.parse(query);
  const offered = await Promise.all((await listOffers(site.db)).map(({ imageId }) => getImage(site.db, imageId)));
  const above: readonly Id[] = [parentId, ...((await getLinkToParent(site.db, parentId))?.ancestors ?? [])];
  const before = (await listSuccessions(site.db))
    .filter(({ successor }) => above.includes(successor))
    .map(({ predecessor }) => predecessor);
  const makers = [...above, ...before];
  const theirs = (await listImages(site.db)).filter(({ origin, state }) => state === 'published' && makers.includes(origin));
  const foreign = request.want.find((manifest) => ![...offered, ...theirs].some((image) => image?.manifest === manifest));
  if (foreign !== undefined || request.wantChunks?.length)
    throw new AppError('not_permitted', `${foreign ?? 'a single chunk'} is not offered`);
  return (await offerArchive(site, request, parentId)) as unknown as Json;
}

/** Opens a connection upwards and serves the parts of one archive in it. Resolves when the server above has taken it. */
export async function answerTunnel(site: Site, channel: ParentChannel, query: Json): Promise<Json> {
  const { archive: key, ticket } = TunnelQuery.parse(query);
  const archive = await takeArchive(site, key);
  const { socket, head } = await channel.upgrade('tunnel', { ticket });
  serveUpwards(site, { archive, socket, head }).catch((error: unknown) =>
    site.log.warn('an offer was not served to its end', { error: String(error) }),
  );
  return {};
}

/** A relay's part: what the server below opens towards us, we join with what we open towards the server above. */
export async function passTunnel(site: Site, channel: ParentChannel, below: ServerBelow, query: Json): Promise<Json> {
  const { archive, ticket } = TunnelQuery.parse(query);
  const own = issueTicket(site, below.via, newId(site.now()));
  try {
    await askBelow(site, below, { kind: 'offer.tunnel', query: { archive, ticket: own.ticket } });
    const lower = await own.arrived;
    const upper = await channel.upgrade('tunnel', { ticket });
    lower.link.write(upper.head);
    upper.socket.write(lower.head);
    join(lower.link, upper.socket);
    join(upper.socket, lower.link);
    return {};
  } finally {
    own.revoke();
  }
}

/** What comes on one goes out on the other; one that breaks takes the other along, one that ends well lets it finish. */
function join(from: Duplex, to: Duplex): void {
  from.on('error', () => to.destroy());
  onceClosed(from, () => {
    if (!from.readableEnded) to.destroy();
  });
  from.pipe(to);
}
