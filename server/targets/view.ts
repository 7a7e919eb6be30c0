import type { Inventory } from '../../core/agent-protocol.ts';
import { getAgentBinding } from '../db/agent-keys.ts';
import { findActiveOrder } from '../db/orders.ts';
import type { Target } from '../db/targets.ts';
import type { Site } from '../site.ts';

/** A target as the API and `target show --json` give it. */
export type TargetView = Omit<Target, 'createdAt' | 'seenAt' | 'revision' | 'inventory'> & {
  /** Name of the server where it lives. */
  readonly server: string;
  readonly createdAt: string;
  readonly seenAt: string | null;
  readonly inventory: Inventory | null;
  /** The order that has not ended, if there is one. */
  readonly order: { readonly id: string; readonly state: string; readonly image: string } | null;
  /** The key that speaks for the machine or waits for `target approve`, and the last other key that was turned away. */
  readonly agent: {
    readonly keyId: string;
    readonly state: 'bound' | 'waiting';
    readonly seenAt: string;
    readonly refusedKeyId: string | null;
    readonly refusedAt: string | null;
  } | null;
};

export async function viewTarget(site: Pick<Site, 'db' | 'self'>, target: Target): Promise<TargetView> {
  const { createdAt, seenAt, revision: _revision, ...plain } = target;
  const order = await findActiveOrder(site.db, target.id);
  return {
    ...plain,
    server: site.self.name,
    createdAt: new Date(createdAt).toISOString(),
    seenAt: seenAt === null ? null : new Date(seenAt).toISOString(),
    order: order === undefined ? null : { id: order.id, state: order.state, image: order.imageReference },
    agent: await viewAgent(site, target),
  };
}

async function viewAgent(site: Pick<Site, 'db'>, target: Target): Promise<TargetView['agent']> {
  const binding = await getAgentBinding(site.db, target.id);
  if (binding === undefined) return null;
  const { keyId, state, seenAt, refusedKeyId, refusedAt } = binding;
  const time = (ms: number) => new Date(ms).toISOString();
  return { keyId, state, seenAt: time(seenAt), refusedKeyId, refusedAt: refusedAt === null ? null : time(refusedAt) };
}
