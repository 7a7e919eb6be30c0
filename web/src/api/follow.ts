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
    operation = await askPatiently(`/api/v1/operations/${operation.id}?after=${operation.revision}`, signal);
  }
  if (operation.error !== null) throw new Refusal({ status: 409, ...operation.error, detail: operation.error.message });
  return operation.result;
}

const TRIES = 8;
const FIRST_PAUSE_MS = 500;

/** The work goes on while the line is broken: who follows it loses nothing by asking again. */
async function askPatiently<Result>(path: string, signal: AbortSignal): Promise<Operation<Result>> {
  for (let tried = 1; ; tried += 1) {
    try {
      return await ask<Operation<Result>>(path, { signal });
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 0 || tried === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE_MS * 2 ** (tried - 1)));
    }
  }
}
