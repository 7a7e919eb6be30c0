import { ask, Refusal } from './ask.ts';

export type Progress = {
  readonly percent: number;
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly etaSeconds: number | null;
};

type Operation<Result> = {
  readonly id: string;
  readonly state: 'running' | 'done' | 'failed';
  readonly revision: number;
  readonly progress: Progress | null;
  readonly result: Result;
  readonly error: { readonly code: string; readonly message: string; readonly hint?: string } | null;
};

export type Followed = { readonly onProgress: (progress: Progress) => void; readonly signal: AbortSignal };

/** Starts long work and follows it to its end. Throws `Refusal` with the words in which it failed. */
export async function doLongWork<Result>(path: string, json: unknown, { onProgress, signal }: Followed): Promise<Result> {
  let operation = await ask<Operation<Result>>(path, { method: 'POST', json, signal });
  while (operation.state === 'running') {
    if (operation.progress !== null) onProgress(operation.progress);
    operation = await ask<Operation<Result>>(`/api/v1/operations/${operation.id}?after=${operation.revision}`, { signal });
  }
  if (operation.error !== null) throw new Refusal({ status: 409, ...operation.error, detail: operation.error.message });
  return operation.result;
}
