import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { ContentStore, FoundDamage, OnProgress } from '../../core/content-store.ts';
import { AppError, errorFromPlain } from '../../core/errors.ts';
import type { ArchiveLimits } from './archives.ts';
import type { WorkerData } from './worker.ts';
import type { Call, FromWorker, StreamHandle } from './worker-messages.ts';
import type { Methods } from './worker-methods.ts';
import { receiveSlices } from './worker-stream.ts';

export type ContentStoreOptions = Partial<ArchiveLimits>;

const GIB = 1024 ** 3;
const DEFAULT_LIMITS: ArchiveLimits = { cacheBytes: 32 * GIB, keepMs: 10 * 60_000 };

/**
 * Opens a store's directory (made if it is not there) in a worker of its own. Only one process may have a
 * directory open: the caller holds DIR/lock. The worker keeps the process alive until `close`.
 */
export async function openContentStore(dir: string, options: ContentStoreOptions = {}): Promise<ContentStore> {
  const client = await startWorker({ root: resolve(dir), archives: { ...DEFAULT_LIMITS, ...options } });
  const { call } = client;
  return {
    importDisk: (source, onProgress) => call('importDisk', [source], onProgress),
    importTree: (source, onProgress) => call('importTree', [source], onProgress),
    exportDisk: (manifest, path, onProgress) => call('exportDisk', [manifest, path], onProgress),
    verifyImage: (manifest, onProgress) => call('verifyImage', [manifest], onProgress),
    readRoot: (manifest) => call('readRoot', [manifest]),
    async openFile(manifest, path) {
      const handle: StreamHandle | undefined = await call('openFile', [manifest, path]);
      return handle && { sizeBytes: handle.sizeBytes ?? 0, stream: receiveSlices(handle.port) };
    },
    async readFrames(digests) {
      return receiveSlices((await call('readFrames', [digests])).port);
    },
    missingOf: (manifests, missingOptions) => call('missingOf', [manifests, missingOptions]),
    buildArchive: (request, onProgress) => call('buildArchive', [request], onProgress),
    holdArchive: (key) => call('holdArchive', [key]),
    releaseArchive: (key) => call('releaseArchive', [key]),
    unpackPart: (path, onProgress) => call('unpackPart', [path], onProgress),
    unpackGrowing: (path, { sizeBytes, isRight }) => {
      const unpacking = call('unpackGrowing', [path, sizeBytes]);
      // A store that was closed meanwhile has ended the unpacking, and that call says so.
      const tell = (method: 'confirmPart' | 'stopUnpacking') => call(method, [path]).catch(() => undefined);
      isRight.then(
        () => tell('confirmPart'),
        () => tell('stopUnpacking'),
      );
      return unpacking;
    },
    hashFile: (path) => call('hashFile', [path]) as ReturnType<ContentStore['hashFile']>,
    lackingOf: (manifests) => call('lackingOf', [manifests]),
    ownersOf: (digests, manifests) => call('ownersOf', [digests, manifests]),
    linkPacks: () => call('linkPacks', []),
    unlinkPacks: (directory) => call('unlinkPacks', [directory]),
    onDamage: client.onDamage,
    scrub: (from, maxBytes) => call('scrub', [from, maxBytes]),
    weigh: (manifests, kept) => call('weigh', [manifests, kept]),
    check: (checkOptions, onProgress) => call('check', [checkOptions ?? {}], onProgress),
    rebuildIndex: (onProgress) => call('rebuildIndex', [], onProgress),
    stats: () => call('stats', []),
    gc: (gcOptions, onProgress) => call('gc', [gcOptions], onProgress),
    close: client.close,
  };
}

type Tail<List extends readonly unknown[]> = List extends readonly [unknown, ...infer Rest] ? Rest : [];
type CallWorker = <Name extends keyof Methods>(
  method: Name,
  args: Tail<Parameters<Methods[Name]>>,
  onProgress?: OnProgress,
) => ReturnType<Methods[Name]>;

type Waiting = { resolve(result: unknown): void; reject(error: Error): void; onProgress: OnProgress | undefined };

type Client = {
  readonly call: CallWorker;
  readonly onDamage: ContentStore['onDamage'];
  close(): Promise<void>;
};

async function startWorker(data: WorkerData): Promise<Client> {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: data, name: 'content-store' });
  const waiting = new Map<number, Waiting>();
  const listeners = new Set<(found: FoundDamage) => void>();
  const started = Promise.withResolvers<void>();
  const exited = Promise.withResolvers<void>();
  let failure: Error | undefined;
  let nextId = 1;

  function failAll(error: Error): void {
    failure = error;
    started.reject(error);
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  }

  worker.on('message', (message: FromWorker) => {
    if (message.kind === 'ready') return started.resolve();
    if (message.kind === 'damage') {
      for (const listener of listeners) listener(message.found);
      return;
    }
    const caller = waiting.get(message.id);
    if (message.kind === 'progress') return caller?.onProgress?.(message.done, message.total);
    waiting.delete(message.id);
    if (message.kind === 'done') caller?.resolve(message.result);
    else caller?.reject(errorFromPlain(message.error));
  });
  worker.on('error', (error) => failAll(errorFromPlain(error as Error & { code?: string; hint?: string })));
  worker.on('exit', () => {
    failAll(failure ?? new AppError('failed', 'the content store is closed'));
    exited.resolve();
  });

  function ask(method: string, args: readonly unknown[], onProgress?: OnProgress): Promise<unknown> {
    if (failure) return Promise.reject(failure);
    return new Promise((resolve, reject) => {
      const id = nextId++;
      waiting.set(id, { resolve, reject, onProgress });
      worker.postMessage({ id, method, args } satisfies Call);
    });
  }

  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    if (failure === undefined) await ask('close', []);
    await exited.promise;
  }

  await started.promise;
  return {
    call: ((method, args, onProgress) => ask(method, args, onProgress)) as CallWorker,
    onDamage: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}
