import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { describeError, errorFromPlain } from '../../core/errors.ts';
import { asStoreError } from './durable.ts';
import type { FromStreamSource, ToStreamSource } from './worker-messages.ts';

/**
 * Worker side: offers slices on a port, one for each `more`. Runs `onEnd` once, however it ends; an aborted `signal`
 * ends it too, or a reader that went to sleep would keep the worker alive. Slices are copied, because they
 * may share memory with the store's caches, and the copy is handed over.
 */
export function sendSlices(slices: AsyncGenerator<Uint8Array>, signal: AbortSignal, onEnd: () => void = () => undefined): MessagePort {
  const { port1, port2 } = new MessageChannel();
  let turn: Promise<void> = Promise.resolve();
  let isOver = false;

  async function end(): Promise<void> {
    if (isOver) return;
    isOver = true;
    signal.removeEventListener('abort', stop);
    port1.close();
    await slices.return(undefined);
    onEnd();
  }

  function stop(): void {
    turn = turn.then(end);
  }

  async function answer(request: ToStreamSource): Promise<void> {
    if (isOver) return;
    if (request === 'stop') return end();
    try {
      const next = await slices.next();
      if (next.done) {
        post(port1, { end: true });
        return await end();
      }
      const slice = new Uint8Array(next.value);
      port1.postMessage({ slice } satisfies FromStreamSource, [slice.buffer]);
    } catch (error) {
      post(port1, { error: describeError(asStoreError(error, 'reading the store')) });
      await end();
    }
  }

  port1.on('message', (request: ToStreamSource) => {
    turn = turn.then(() => answer(request));
  });
  port1.on('close', stop);
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop);
  return port2;
}

function post(port: MessagePort, message: FromStreamSource): void {
  port.postMessage(message);
}

/** Slices asked for ahead of the reader: about a megabyte each. */
const AHEAD = 2;

/** Main side: the stream behind a port. Cancelling it ends the reading in the worker. */
export function receiveSlices(port: MessagePort): ReadableStream<Uint8Array> {
  // What comes after the end, the failure or the cancelling, tells nothing new to nobody.
  let isOver = false;
  function over(): void {
    isOver = true;
    port.close();
  }
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        port.on('message', (message: FromStreamSource) => {
          if (isOver) return;
          if ('slice' in message) return controller.enqueue(message.slice);
          if ('error' in message) controller.error(errorFromPlain(message.error));
          else controller.close();
          over();
        });
        // A worker that died closes the port without a last word.
        port.on('close', () => {
          if (isOver) return;
          isOver = true;
          controller.error(errorFromPlain({ code: 'failed', message: 'the content store was closed while it was read' }));
        });
      },
      pull: () => port.postMessage('more' satisfies ToStreamSource),
      cancel() {
        port.postMessage('stop' satisfies ToStreamSource);
        over();
      },
    },
    { highWaterMark: AHEAD },
  );
}
