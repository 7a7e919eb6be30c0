import type { Inventory } from '../../core/agent-protocol.ts';
import { isoTime } from '../../core/iso-time.ts';
import { type AgentBinding, listAgentBindings } from '../db/agent-keys.ts';
import { listActiveOrdersOf, type Order } from '../db/orders.ts';
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

type ViewSite = Pick<Site, 'db' | 'self'>;

export async function viewTarget(site: ViewSite, target: Target): Promise<TargetView> {
  return (await viewTargets(site, [target]))[0] as TargetView;
}

/** As `viewTarget`, of a whole page with as many statements as for one. */
export async function viewTargets(site: ViewSite, targets: readonly Target[]): Promise<TargetView[]> {
  if (targets.length === 0) return [];
  const ids = targets.map(({ id }) => id);
  const orders = new Map((await listActiveOrdersOf(site.db, ids)).map((order) => [order.targetId, order]));
  const bindings = new Map((await listAgentBindings(site.db, ids)).map((binding) => [binding.targetId, binding]));
  return targets.map((target) => view(site, target, { order: orders.get(target.id), binding: bindings.get(target.id) }));
}

type Seen = { readonly order: Order | undefined; readonly binding: AgentBinding | undefined };

function view({ self }: ViewSite, target: Target, { order, binding }: Seen): TargetView {
  const { createdAt, seenAt, revision: _revision, ...plain } = target;
  return {
    ...plain,
    server: self.name,
    createdAt: isoTime(createdAt),
    seenAt: isoTime(seenAt),
    order: order === undefined ? null : { id: order.id, state: order.state, image: order.imageReference },
    agent: binding === undefined ? null : viewAgent(binding),
  };
}

function viewAgent({ keyId, state, seenAt, refusedKeyId, refusedAt }: AgentBinding): TargetView['agent'] {
  return { keyId, state, seenAt: isoTime(seenAt), refusedKeyId, refusedAt: isoTime(refusedAt) };
}
