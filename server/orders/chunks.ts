import { AppError } from '../../core/errors.ts';
import { type Id, parseDigest } from '../../core/ids.ts';
import { getImage } from '../db/images.ts';
import { listLinks } from '../db/links.ts';
import { findActiveOrder } from '../db/orders.ts';
import type { Site } from '../site.ts';
import type { Agent } from './instruct.ts';

/**
 * The stored frames that hold these chunks, for the agent that holds an order of this manifest and for nobody else.
 * That each chunk belongs to the manifest is not looked up: who can name a chunk's SHA-256 knows its content, and
 * frames carry neighbours anyway (docs/decisions/0004). Nothing is buffered: the agent's reading is the pace.
 *
 * Errors: `not_permitted` without such an order; `busy` while a damaged chunk is being fetched again; what `ContentStore.readFrames` throws.
 */
export async function readOrderedFrames(
  site: Site,
  agent: Agent,
  request: { readonly manifest: string; readonly digests: readonly string[] },
): Promise<ReadableStream<Uint8Array>> {
  const order = await findActiveOrder(site.db, agent.targetId);
  if (order?.manifest !== request.manifest || order.state !== 'installing' || order.diskWritten) {
    throw new AppError('not_permitted', 'this machine has no running order for that image', { hint: 'ask for the next instruction' });
  }
  try {
    return await site.store.readFrames(request.digests.map(parseDigest));
  } catch (error) {
    throw (await isBeingHealed(site, order.imageId, error)) ? beingHealed(order.imageReference, error) : error;
  }
}

/** A damaged chunk of an image that another server made comes back by itself (care/self-repair.ts): the agent waits for it. */
async function isBeingHealed(site: Site, imageId: Id, error: unknown): Promise<boolean> {
  const isLost = error instanceof AppError && (error.code === 'not_found' || error.code === 'corrupt');
  if (!isLost) return false;
  const image = await getImage(site.db, imageId);
  return image !== undefined && image.origin !== site.self.id && (await listLinks(site.db)).length > 0;
}

function beingHealed(reference: string, cause: unknown): AppError {
  return new AppError('busy', `a chunk of ${reference} was found damaged here and is being fetched again`, {
    hint: 'ask again; waystation store stats shows what is missing',
    cause,
  });
}
