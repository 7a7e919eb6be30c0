import { isoTime } from '../../core/iso-time.ts';
import { type AgentBinding, listAgentBindings } from '../db/agent-keys.ts';
import type { Order } from '../db/orders.ts';
import { listTargetNames } from '../db/targets.ts';
import type { Site } from '../site.ts';

/** An agent that reports every second is silent after this long. */
const SILENT_AFTER_MS = 30_000;

/**
 * The order as others script against it. Times are ISO 8601; `target` is its name, or its id when it has none; `server` is the
 * name of the server that runs it and has the last word.
 */
export type OrderView = {
  readonly id: string;
  readonly state: string;
  readonly target: string;
  readonly targetId: string;
  readonly image: string;
  readonly manifest: string;
  readonly progress: Order['progress'];
  readonly error: Order['error'];
  readonly figures: Order['figures'];
  readonly diskWritten: boolean;
  /** While an agent holds the task and is not heard of: since when; else null. */
  readonly silentSince: string | null;
  readonly server: string;
  /** Id of the server above where it was made, or null. */
  readonly managedBy: string | null;
  /** What it waits for, or what is on its way to it. */
  readonly note: string | null;
  readonly revision: number;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly endedAt: string | null;
};

/** Everything about an order that may be shown; its nonce may not. */
export async function viewOrder(site: Site, order: Order): Promise<OrderView> {
  return (await viewOrders(site, [order]))[0] as OrderView;
}

/** As `viewOrder`, of a whole page with as many statements as for one. */
export async function viewOrders(site: Site, orders: readonly Order[]): Promise<OrderView[]> {
  if (orders.length === 0) return [];
  const names = await listTargetNames(
    site.db,
    orders.map(({ targetId }) => targetId),
  );
  const held = orders.filter(isHeld).map(({ targetId }) => targetId);
  const bindings = new Map((held.length === 0 ? [] : await listAgentBindings(site.db, held)).map((one) => [one.targetId, one]));
  return orders.map((order) => view(site, order, { name: names.get(order.targetId), binding: bindings.get(order.targetId) }));
}

type Seen = { readonly name: string | undefined; readonly binding: AgentBinding | undefined };

function view(site: Site, order: Order, { name, binding }: Seen): OrderView {
  return {
    id: order.id,
    state: order.state,
    target: name ?? order.targetId,
    targetId: order.targetId,
    image: order.imageReference,
    manifest: order.manifest,
    progress: order.progress,
    error: order.error,
    figures: order.figures,
    diskWritten: order.diskWritten,
    silentSince: isHeld(order) ? silentSince(site, binding) : null,
    server: site.self.name,
    managedBy: order.managedBy,
    note: order.waitsFor,
    revision: order.revision,
    createdAt: isoTime(order.createdAt),
    updatedAt: isoTime(order.updatedAt),
    endedAt: order.endedAt === null ? null : isoTime(order.endedAt),
  };
}

/** An agent has the task. */
function isHeld({ state, diskWritten }: Order): boolean {
  return (state === 'installing' && !diskWritten) || state === 'cancelling';
}

function silentSince(site: Site, binding: AgentBinding | undefined): string | null {
  return binding === undefined || site.now() - binding.seenAt < SILENT_AFTER_MS ? null : isoTime(binding.seenAt);
}
