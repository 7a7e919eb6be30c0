import { setTimeout as sleep } from 'node:timers/promises';
import type { DeployTask, Report } from '../core/agent-protocol.ts';
import { type AppError, describeError } from '../core/errors.ts';
import type { ServerClient } from './client.ts';
import type { Machine } from './machine.ts';
import type { Patience } from './patience.ts';
import { deploy } from './steps/deploy.ts';
import { createMeter, type Meter } from './steps/meter.ts';

export type TaskWorld = {
  readonly client: ServerClient;
  readonly machine: Machine;
  readonly patience: Patience;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
};

/** Calls until the server answers. */
type Persist = <T>(what: string, call: () => Promise<T>) => Promise<T>;

const REPORT_EVERY_MS = 1000;
/** States in which the order is not ours to work on any more. */
const LET_GO: ReadonlySet<string> = new Set(['cancelling', 'stopped', 'failed', 'current']);

/**
 * Runs one task and tells the server how it goes, once a second, and how it ended. Rejects only when the server does
 * not take this agent's word any more (`denied`, `not_permitted`) or the agent is stopped.
 */
export async function runTask(world: TaskWorld, task: DeployTask, persist: Persist): Promise<void> {
  const meter = createMeter();
  const stop = new AbortController();
  const signal = AbortSignal.any([world.signal, stop.signal]);
  const finished = new AbortController();
  const reporting = reportProgress(world, task, meter, { stop, finished: finished.signal });
  const outcome = await deploy(task, { ...world, meter, signal }).then(
    (): Report => ({ orderId: task.orderId, event: 'verified', progress: meter.progress(), figures: meter.figures() }),
    (error: unknown) => failureReport(task, meter, error, stop.signal.aborted),
  );
  finished.abort();
  await reporting;
  if (world.signal.aborted) return;
  if (outcome instanceof Error) throw outcome;
  world.say(`${outcome.event}${outcome.error === undefined ? '' : `: ${outcome.error.message}`}`);
  const answer = await persist('report', () => world.client.report(outcome));
  if (outcome.event === 'verified' && answer.state === 'cancelling') {
    await persist('report', () => world.client.report({ orderId: task.orderId, event: 'released' }));
  }
}

/** What to tell of a task that did not end well; an Error when it is the agent itself that was refused. */
function failureReport(task: DeployTask, meter: Meter, error: unknown, isStopped: boolean): Report | AppError | Error {
  const { code, message, hint } = describeError(error);
  if (isStopped) return { orderId: task.orderId, event: 'released', figures: meter.figures() };
  if (code === 'denied' || code === 'not_permitted') return error as AppError;
  const words = { code, message: message.slice(0, 2000), ...(hint === undefined ? {} : { hint: hint.slice(0, 2000) }) };
  return { orderId: task.orderId, event: 'failed', error: words, figures: meter.figures() };
}

/** Sends progress until `finished`; what cannot be sent is not kept, the next one says more. Aborts `stop` when the order is not ours any more. */
async function reportProgress(
  { client, say }: TaskWorld,
  task: DeployTask,
  meter: Meter,
  when: { readonly stop: AbortController; readonly finished: AbortSignal },
): Promise<void> {
  let said = '';
  while (!when.finished.aborted) {
    // The end of the task interrupts the wait; that is no failure.
    await sleep(REPORT_EVERY_MS, undefined, { signal: when.finished }).catch(() => undefined);
    if (when.finished.aborted) return;
    const progress = meter.progress();
    const line = `${progress.stage} ${Math.floor(progress.percent / 10) * 10} %`;
    if (line !== said) say(line);
    said = line;
    const report: Report = { orderId: task.orderId, event: 'progress', progress, figures: meter.figures() };
    const answer = await client.report(report).catch((error: unknown) => error as AppError);
    if (!(answer instanceof Error) && LET_GO.has(answer.state)) when.stop.abort();
  }
}
