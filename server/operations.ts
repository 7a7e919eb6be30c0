import type { Json } from '../core/canonical-json.ts';
import { describeError, type ErrorCode } from '../core/errors.ts';
import { type Id, newId } from '../core/ids.ts';
import { type Progress, progressOf } from '../core/progress.ts';
import type { Site } from './site.ts';

/**
 * Long work that was asked for over the API (an import, a check): it is started, answered with its id, and followed.
 * Nothing of it is kept on disk. When the server dies the work dies with it; the store is clean by its own
 * rules, and whoever asked sees the connection break and asks again.
 */
export type Operation = {
  readonly id: Id;
  readonly kind: string;
  readonly state: 'running' | 'done' | 'failed';
  /** Grows with every change. */
  readonly revision: number;
  readonly progress: Progress | null;
  readonly result: Json;
  readonly error: { readonly code: ErrorCode; readonly message: string; readonly hint?: string } | null;
};

export type OperationSite = Pick<Site, 'wake' | 'log' | 'now'>;
export type Report = (doneBytes: number, totalBytes: number) => void;

// Enough to be fetched by whoever follows; ended operations beyond these are forgotten, oldest first.
const KEPT = 100;
const operations = new WeakMap<OperationSite['wake'], Map<string, Operation>>();

function operationsOf(site: OperationSite): Map<string, Operation> {
  const known = operations.get(site.wake) ?? new Map<string, Operation>();
  operations.set(site.wake, known);
  return known;
}

/** The operation of that id, or undefined when it was forgotten or never was. */
export function findOperation(site: OperationSite, id: string): Operation | undefined {
  return operationsOf(site).get(id);
}

/** The wake topic of an operation. */
export function operationTopic(id: string): string {
  return `operation:${id}`;
}

/** Starts `work` and gives the operation it will be followed by; how `work` ends is in the operation, never thrown. */
export function startOperation(site: OperationSite, kind: string, work: (report: Report) => Promise<Json>): Operation {
  const started = performance.now();
  const id = newId(site.now());
  const change = (patch: Partial<Operation>): void => {
    const was = operationsOf(site).get(id);
    if (was) operationsOf(site).set(id, { ...was, ...patch, revision: was.revision + 1 });
    site.wake.notify(operationTopic(id));
  };
  operationsOf(site).set(id, { id, kind, state: 'running', revision: 0, progress: null, result: null, error: null });
  forgetOldest(operationsOf(site));
  const report: Report = (done, total) => change({ progress: progressOf(kind, done, total, performance.now() - started) });
  const finish = (outcome: Pick<Operation, 'state'> & Partial<Operation>): void => {
    change(outcome);
    const ms = Math.round(performance.now() - started);
    site.log.info('operation ended', { operation: id, kind, state: outcome.state, ms, code: outcome.error?.code });
  };
  work(report).then(
    (result) => finish({ state: 'done', result }),
    (error: unknown) => finish({ state: 'failed', error: describeError(error) }),
  );
  return operationsOf(site).get(id) as Operation;
}

function forgetOldest(known: Map<string, Operation>): void {
  const ended = [...known.values()].filter(({ state }) => state !== 'running');
  for (const { id } of ended.slice(0, Math.max(0, known.size - KEPT))) known.delete(id);
}
