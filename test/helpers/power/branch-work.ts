import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../../../cli/client.ts';
import { waitUntil } from '../wait-until.ts';
import { type BranchApi, doLongWork, LONGEST_MS, Refused } from './branch-api.ts';
import type { Ledger } from './ledger.ts';

type Identified = { readonly id: string };
type TargetView = Identified & { readonly group: string | null };
type OrderView = Identified & { readonly state: string };
type RunView = Identified & {
  readonly state: string;
  readonly generation: number;
  readonly bytesReceived: number;
  readonly error: unknown;
};

/** What is asked of a branch while its power is still there: each answer goes into the ledger at once. */
export type BranchWork = {
  readonly branch: BranchApi;
  readonly ledger: Ledger;
  /** Makes every name and address different. */
  readonly nextNumber: () => number;
  readonly random: () => number;
};

/** A target and an order for it; sometimes a group, sometimes a stop; and a document in a new revision. */
export async function makeOrder({ branch, ledger, nextNumber, random }: BranchWork, image: string): Promise<void> {
  const number = nextNumber();
  const target = await branch.post<TargetView>('/targets', { name: `till-${number}`, macs: [macOf(number)] });
  ledger.target(target);
  const order = await branch.post<OrderView>('/orders', { target: target.id, image });
  ledger.order(order);
  if (random() < 0.4) ledger.order(await branch.post<OrderView>(`/orders/${order.id}/stop`));
  if (random() < 0.4) ledger.target(await branch.put<TargetView>(`/targets/${target.id}/group`, { group: `group-${number}` }));
  const value = `value ${number}`;
  const { name, revision } = await branch.put<{ name: string; revision: number }>('/documents/parameter/counter', { content: { value } });
  ledger.document({ name, revision, value });
}

/** Works until there is no answer any more or `signal` aborts; a refusal is thrown. */
export async function keepOrdering(work: BranchWork, image: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await makeOrder(work, image).catch((error: unknown) => {
      if (error instanceof Refused || !signal.aborted) throw error;
    });
    await sleep(50);
  }
}

/** Imports a file of the branch's own machine; `onStart` when the branch has begun. */
export async function importAt({ branch, ledger }: BranchWork, file: string, name: string): Promise<void> {
  const image = await doLongWork<{ name: string; version: string; manifest: string }>(branch, '/images', { path: file, name });
  ledger.image({ reference: `${image.name}@${image.version}`, manifest: image.manifest });
}

/** A run to its end, seen state by state; one that the branch goes on with by itself is waited for first. */
export async function replicate({ branch, ledger }: BranchWork, onState: (state: string) => void = () => undefined): Promise<RunView> {
  let run = await startRun(branch);
  const ended = async () => {
    onState(run.state);
    if (run.state === 'done') ledger.run(run);
    if (isEnded(run)) return run;
    run = await branch.get<RunView>(`/runs/${run.id}`);
    return undefined;
  };
  return waitUntil('the end of a run', ended, { limitMs: LONGEST_MS, everyMs: 15, state: () => run });
}

async function startRun(branch: BranchApi): Promise<RunView> {
  const started = async () => {
    try {
      return await branch.post<RunView>('/runs');
    } catch (error) {
      if (!(error instanceof Refused) || error.code !== 'run_in_progress') throw error;
    }
    return undefined;
  };
  return waitUntil('a run may begin', started, { limitMs: LONGEST_MS, everyMs: 200 });
}

function isEnded({ state }: RunView): boolean {
  return ['done', 'partial', 'failed'].includes(state);
}

/** What headquarters asks of the branch: a target and an order for it. Gives their ids: they must be there in the end, once. */
export async function orderFromAbove(hq: Client, number: number, image: string): Promise<{ targetId: string; orderId: string }> {
  const body = { name: `kiosk-${number}`, macs: [macOf(number)], server: 'branch' };
  const target = await hq.post<Identified>('/api/v1/targets', body);
  const order = await hq.post<Identified>('/api/v1/orders', { target: target.id, image });
  return { targetId: target.id, orderId: order.id };
}

function macOf(number: number): string {
  return `5254${number.toString(16).padStart(8, '0')}`;
}
