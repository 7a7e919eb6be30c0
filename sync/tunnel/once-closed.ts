import type { Readable, Writable } from 'node:stream';

/**
 * Calls `tell` once, when the stream has closed; at once when it has already. 'close' is emitted a single time, so whoever
 * waits for something else first and listens then would wait for ever for a stream that went in between.
 */
export function onceClosed(stream: Pick<Readable | Writable, 'closed' | 'once'>, tell: () => void): void {
  if (stream.closed) tell();
  else stream.once('close', tell);
}
