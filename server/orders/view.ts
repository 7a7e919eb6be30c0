import { getAgentBinding } from '../db/agent-keys.ts';
import type { Order } from '../db/orders.ts';
import { findTargetBy } from '../db/targets.ts';
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
  const target = await findTargetBy(site.db, 'id', order.targetId);
  return {
    id: order.id,
    state: order.state,
    target: target?.name ?? order.targetId,
    targetId: order.targetId,
    image: order.imageReference,
    manifest: order.manifest,
    progress: order.progress,
    error: order.error,
    figures: order.figures,
    diskWritten: order.diskWritten,
    silentSince: await silentSince(site, order),
    server: site.self.name,
    managedBy: order.managedBy,
    note: order.waitsFor,
    revision: order.revision,
    createdAt: iso(order.createdAt),
    updatedAt: iso(order.updatedAt),
    endedAt: order.endedAt === null ? null : iso(order.endedAt),
  };
}

async function silentSince(site: Site, order: Order): Promise<string | null> {
  const isHeld = (order.state === 'installing' && !order.diskWritten) || order.state === 'cancelling';
  if (!isHeld) return null;
  const heardAt = (await getAgentBinding(site.db, order.targetId))?.seenAt;
  return heardAt === undefined || site.now() - heardAt < SILENT_AFTER_MS ? null : iso(heardAt);
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
