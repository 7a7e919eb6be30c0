import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, connectLocal } from '../../../cli/client.ts';
import type { NumberedSteps } from '../numbered-steps.ts';
import type { SharedNode } from '../shared-sites.ts';

export type Made = { readonly id: string; readonly at: string };
export type Ordered = Made & { readonly for: string; readonly targetId: string };

/** What two servers acknowledged by their API, whether the database was there or not. Servers are named by id. */
export type SharedLedger = { readonly targets: Made[]; readonly orders: Ordered[] };

export type LoadOptions = {
  /** What the orders at one server for machines at the other deploy. */
  readonly image: string;
  /** Servers tell again what the database has lost, and so hide its losses (docs/decisions/0025); nobody tells a step again. */
  readonly steps: NumberedSteps;
  /** Between two calls of one caller. */
  readonly pauseMs: { readonly step: number; readonly api: number };
};

export type SharedLoad = {
  readonly ledger: SharedLedger;
  /** Throws what one of the callers threw: it works no more. */
  assertWell(): void;
  /** Resolves when every caller has its last answer; throws what one of them threw. */
  stop(): Promise<void>;
};

type Caller = { readonly node: SharedNode; readonly client: Client; readonly ledger: SharedLedger };

/** Two servers at work until `stop`: targets and orders by their API, and numbered steps in the database itself. */
export async function startSharedLoad(
  nodes: readonly [SharedNode, SharedNode],
  { image, steps, pauseMs }: LoadOptions,
): Promise<SharedLoad> {
  const ledger: SharedLedger = { targets: [], orders: [] };
  let isOver = false;
  const repeat = async (work: () => Promise<void>, pauseMs: number) => {
    while (!isOver) {
      await work();
      await sleep(pauseMs);
    }
  };
  const callers = await Promise.all(nodes.map(async (node) => ({ node, client: await connectLocal(node.site.dataDir), ledger })));
  let made = 0;
  const number = () => {
    made += 1;
    return made;
  };
  const running = Promise.all(
    callers.flatMap((caller, index) => [
      repeat(() => addTarget(caller, number()), pauseMs.api),
      repeat(() => steps.take(caller.node.site), pauseMs.step),
      repeat(orderAt(caller, nodes[1 - index] as SharedNode, image), pauseMs.api),
    ]),
  );
  let failure: { readonly error: unknown } | undefined;
  running.catch((error: unknown) => {
    failure = { error };
  });
  return {
    ledger,
    assertWell: () => {
      if (failure !== undefined) throw failure.error;
    },
    stop: async () => {
      isOver = true;
      await running;
    },
  };
}

/** Acknowledged whether the database is there or not. */
async function addTarget({ node, client, ledger }: Caller, number: number): Promise<void> {
  const macs = [`5254${number.toString(16).padStart(8, '0')}`];
  const { id } = await client.post<{ id: string }>('/api/v1/targets', { name: `box-${number}`, macs });
  ledger.targets.push({ id, at: node.site.self.id });
}

/** For the oldest machine of another server that has no order and is known here; waits for one while there is none. */
function orderAt({ node, client, ledger }: Caller, owner: SharedNode, image: string): () => Promise<void> {
  let ordered = 0;
  return async () => {
    const target = ledger.targets.filter(({ at }) => at === owner.site.self.id)[ordered];
    if (target === undefined) return;
    const known = await node.site.db('reported').where({ origin: target.at, kind: 'target', subject: target.id }).first('subject');
    if (known === undefined) return;
    const { id } = await client.post<{ id: string }>('/api/v1/orders', { target: target.id, image });
    ledger.orders.push({ id, at: node.site.self.id, for: target.at, targetId: target.id });
    ordered += 1;
  };
}
