import type { MessagePort } from 'node:worker_threads';
import type { FoundDamage } from '../../core/content-store.ts';
import type { ErrorCode } from '../../core/errors.ts';

/*
 * What the main thread and the store's worker say to each other. A call has a number; `progress` may come
 * before its `done` or `failed`. Streams get a port of their own: the reader sends `more` for each slice
 * it has room for, so nothing piles up on either side.
 */
export type Call = { readonly id: number; readonly method: string; readonly args: readonly unknown[] };

export type PlainError = { readonly code: ErrorCode; readonly message: string; readonly hint?: string };

export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'damage'; readonly found: FoundDamage }
  | { readonly kind: 'progress'; readonly id: number; readonly done: number; readonly total: number }
  | { readonly kind: 'done'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'failed'; readonly id: number; readonly error: PlainError };

export type ToStreamSource = 'more' | 'stop';
export type FromStreamSource = { readonly slice: Uint8Array } | { readonly end: true } | { readonly error: PlainError };

/** How a stream crosses: its port, and whatever is known beforehand. */
export type StreamHandle = { readonly port: MessagePort; readonly sizeBytes?: number };
