import { AppError } from '../../core/errors.ts';
import { parseDigest } from '../../core/ids.ts';
import { findActiveOrder } from '../db/orders.ts';
import type { Site } from '../site.ts';
import type { Agent } from './instruct.ts';

/**
 * The stored frames that hold these chunks, for the agent that holds an order of this manifest and for nobody else.
 * That each chunk belongs to the manifest is not looked up: who can name a chunk's SHA-256 knows its content, and
 * frames carry neighbours anyway (docs/decisions/0004). Nothing is buffered: the agent's reading is the pace.
 *
 * Errors: `not_permitted` without such an order; what `ContentStore.readFrames` throws.
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
  return site.store.readFrames(request.digests.map(parseDigest));
}
