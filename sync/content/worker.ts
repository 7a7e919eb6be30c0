import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';
import { MessagePort, parentPort, type Transferable, workerData } from 'node:worker_threads';
import type { OnProgress } from '../../core/content-store.ts';
import { AppError, describeError } from '../../core/errors.ts';
import type { ArchiveLimits } from './archives.ts';
import { asStoreError } from './durable.ts';
import { openStore, type Store } from './store.ts';
import type { Call, FromWorker } from './worker-messages.ts';
import { createMethods, type Methods } from './worker-methods.ts';

/** What `openContentStore` starts the worker with. */
export type WorkerData = { readonly root: string; readonly archives: ArchiveLimits };

/** Between two progress messages of one call. */
const PROGRESS_MS = 250;
/** The loop that answers firmware goes first. */
const NICENESS = 5;

async function run({ root, archives }: WorkerData): Promise<void> {
  yieldToMainThread();
  const stopping = new AbortController();
  const store = await openStore(root, stopping.signal, { onDamage: (found) => send({ kind: 'damage', found }) });
  const methods = await createMethods(store, archives);
  const running = new Set<Promise<void>>();
  parentPort?.on('message', (call: Call) => {
    if (call.method === 'close') {
      stopping.abort();
      void closeStore(store, running, call.id);
      return;
    }
    const work = perform(methods, call).finally(() => running.delete(work));
    running.add(work);
  });
  send({ kind: 'ready' });
}

async function perform(methods: Methods, { id, method, args }: Call): Promise<void> {
  try {
    const handler = (methods as Record<string, unknown>)[method] as
      | ((onProgress: OnProgress, ...rest: readonly unknown[]) => Promise<unknown>)
      | undefined;
    if (handler === undefined) throw new AppError('failed', `the store has no method ${method}`);
    const result = await handler(throttled(id), ...args);
    const port = (result as { port?: unknown } | undefined)?.port;
    send({ kind: 'done', id, result }, port instanceof MessagePort ? [port] : []);
  } catch (error) {
    send({ kind: 'failed', id, error: describeError(asStoreError(error, `content store, ${method}`)) });
  }
}

function throttled(id: number): OnProgress {
  let next = 0;
  return (done, total) => {
    const now = performance.now();
    if (now < next) return;
    next = now + PROGRESS_MS;
    send({ kind: 'progress', id, done, total });
  };
}

async function closeStore(store: Store, running: ReadonlySet<Promise<void>>, id: number): Promise<void> {
  await Promise.all(running);
  store.index.close();
  send({ kind: 'done', id, result: undefined });
  parentPort?.close();
}

function send(message: FromWorker, transfer: readonly Transferable[] = []): void {
  parentPort?.postMessage(message, [...transfer]);
}

/** Linux keeps a niceness per thread, under the thread's id; /proc tells ours ("<pid>/task/<tid>"). */
function yieldToMainThread(): void {
  if (process.platform !== 'linux') return;
  const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
  setPriority(thread, NICENESS);
}

await run(workerData as WorkerData);
