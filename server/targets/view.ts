import type { Inventory } from '../../core/agent-protocol.ts';
import { findActiveOrder } from '../db/orders.ts';
import type { Target } from '../db/targets.ts';
import type { Site } from '../site.ts';

/** A target as the API and `target show --json` give it. */
export type TargetView = Omit<Target, 'createdAt' | 'seenAt' | 'revision' | 'inventory'> & {
  readonly createdAt: string;
  readonly seenAt: string | null;
  readonly inventory: Inventory | null;
  /** The order that has not ended, if there is one. */
  readonly order: { readonly id: string; readonly state: string; readonly image: string } | null;
};

export async function viewTarget(site: Pick<Site, 'db'>, target: Target): Promise<TargetView> {
  const { createdAt, seenAt, revision: _revision, ...plain } = target;
  const order = await findActiveOrder(site.db, target.id);
  return {
    ...plain,
    createdAt: new Date(createdAt).toISOString(),
    seenAt: seenAt === null ? null : new Date(seenAt).toISOString(),
    order: order === undefined ? null : { id: order.id, state: order.state, image: order.imageReference },
  };
}
