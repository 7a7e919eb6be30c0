import { Socket } from 'node:net';
import type { Duplex, Readable, Writable } from 'node:stream';
import { release } from '../../core/content/release.ts';
import { AppError } from '../../core/errors.ts';
import { type CreditGate, openCreditGate } from './credit-gate.ts';
import { createFrameDecoder, encodeFrame, type Frame, MAX_DATA_BYTES, WINDOW_BYTES } from './frames.ts';
import { onceClosed } from './once-closed.ts';

/** What may wait to be sent: a window of DATA, and CREDIT beside it. */
const MOST_WAITING_BYTES = WINDOW_BYTES + 256 * 1024;

/**
 * Joins a local byte stream (rsync's, or our pipe's) with the link to the other site. What comes from `input` goes
 * out as DATA, never more than the window ahead of the other side's CREDIT; what arrives as DATA goes to `output`,
 * and its CREDIT is sent when `output` has taken it, not when TLS has received it. So the kernel's megabytes of
 * socket buffers on a slow link stay empty, and a kill loses no more than the window.
 *
 * DATA is handed on without waiting, so that CREDIT behind it is seen: the window bounds what can pile up.
 */
export type TunnelOptions = {
  readonly link: Duplex;
  readonly input: Readable;
  readonly output: Writable;
  /** Octets that came on the link together with the upgrade's answer. */
  readonly head?: Buffer;
  /** With how much credit we begin, when the other side asked for less than the window. */
  readonly credit?: number;
  /** What the other side was kept from at its beginning: each is sent as CREDIT when it is there. With that it has the window. */
  readonly keptBack?: readonly Promise<number>[];
  /** Payload that went either way, for counters. */
  readonly onData?: (bytes: { readonly received: number; readonly sent: number }) => void;
  /** Waits until some of so many octets may be sent, and says how many; 0: no more, ever. Default: all at once. */
  readonly pace?: (wanted: number) => number | Promise<number>;
  /** The other side told its cap, bits per second, null for none. A side that knows no caps refuses them. */
  readonly onCap?: (bps: number | null) => void;
  /**
   * After so long without an octet from the other side the link counts as broken. Not while octets wait for `output`: then it is
   * us that the other side waits for. rsync's own --timeout does not see it: what it writes into its pipe counts for it as life.
   */
  readonly silenceMs?: number;
};

/**
 * Resolves when both sides have said END. Rejects with `unreachable` when the link breaks before, `bad_packet` when
 * the peer breaks the rules. Either way both ends are closed then: the death of one side is the death of the other.
 */
export async function runTunnel(options: TunnelOptions): Promise<void> {
  const { link, input, output } = options;
  const gate = openCreditGate(WINDOW_BYTES, options.credit);
  for (const kept of options.keptBack ?? []) void kept.then((bytes) => giveCredit(link, bytes));
  try {
    await Promise.all([sendInput(options, gate), receiveLink(options, gate)]);
  } catch (error) {
    input.destroy();
    throw error;
  } finally {
    gate.close();
    output.destroy();
    link.destroy();
  }
}

async function sendInput({ link, input, onData, pace }: TunnelOptions, gate: CreditGate): Promise<void> {
  for await (const chunk of input as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length; ) {
      const granted = await gate.take(Math.min(MAX_DATA_BYTES, chunk.length - at));
      if (granted === 0) return;
      for (const end = at + granted; at < end; ) {
        const paced = pace === undefined ? end - at : await pace(end - at);
        if (paced === 0) return;
        await send(link, { type: 'data', payload: chunk.subarray(at, at + paced) });
        onData?.({ received: 0, sent: paced });
        at += paced;
      }
    }
    // What a socket gives is nobody else's.
    if (input instanceof Socket) release(chunk);
  }
  await send(link, { type: 'end' });
  link.end();
}

/** Ends when the peer has said END and all its DATA was taken, or when the local side takes no more. */
function receiveLink({ link, output, head, onData, onCap, silenceMs }: TunnelOptions, gate: CreditGate): Promise<void> {
  let watch: NodeJS.Timeout | undefined;
  const received = new Promise<void>((resolve, reject) => {
    const decoder = createFrameDecoder();
    let untaken = 0;
    let owed = 0;
    let ended = false;
    // One CREDIT for one DATA, however many pieces it came in. `done` when the payload is written.
    const take = (payload: Buffer, left: number, done: () => void) => {
      const bytes = payload.length;
      untaken += bytes;
      if (untaken > WINDOW_BYTES) throw new AppError('bad_packet', 'the tunnel got more bytes than it gave credit for');
      onData?.({ received: bytes, sent: 0 });
      output.write(payload, (error) => {
        untaken -= bytes;
        watch?.refresh();
        owed += bytes;
        done();
        if (error || left > 0) return;
        giveCredit(link, owed);
        owed = 0;
      });
    };
    const handle = (frame: Frame, done: () => void) => {
      if (frame.type === 'credit') gate.grant(frame.bytes);
      if (frame.type === 'data') take(frame.payload, frame.left ?? 0, done);
      if (frame.type === 'cap') {
        if (onCap === undefined) throw new AppError('bad_packet', 'the tunnel got a cap, which only a child tells');
        onCap(frame.kbps === 0 ? null : frame.kbps * 1000);
      }
      if (frame.type === 'end') {
        ended = true;
        output.end(() => resolve());
      }
    };
    // What a socket gives is nobody else's, and a socket has copied what it says is written.
    const isOurs = link instanceof Socket && output instanceof Socket;
    const listen = () => {
      if (untaken === 0) reject(new AppError('unreachable', `the other side said nothing for ${(silenceMs ?? 0) / 1000} s`));
      else watch?.refresh();
    };
    if (silenceMs !== undefined) watch = setTimeout(listen, silenceMs);
    const read = (chunk: Buffer) => {
      watch?.refresh();
      try {
        const frames = decoder.push(chunk);
        let unwritten = frames.filter(({ type }) => type === 'data').length;
        const done = () => {
          unwritten -= 1;
          if (unwritten === 0 && isOurs) release(chunk);
        };
        for (const frame of frames) handle(frame, done);
        if (link.writableLength > MOST_WAITING_BYTES)
          throw new AppError('bad_packet', 'the other side of the tunnel sends and does not read');
      } catch (error) {
        reject(error);
      }
    };
    const broken = (cause?: unknown) => {
      if (!ended) reject(new AppError('unreachable', 'the link broke while rsync was working', { cause }));
      resolve();
    };
    // rsync may close its end before the other side has finished talking: its exit status tells, not this.
    output.on('error', () => resolve());
    // A socket may stay half open when the other side has gone; what it has not said until then it never says.
    link.on('error', broken).on('end', () => ended || broken());
    onceClosed(link, broken);
    if (head !== undefined && head.length > 0) read(Buffer.from(head));
    link.on('data', read);
  });
  return received.finally(() => clearTimeout(watch));
}

function giveCredit(link: Duplex, bytes: number): void {
  if (link.writable) link.write(encodeFrame({ type: 'credit', bytes }));
}

/** A socket has copied what it says is written: the buffer is given back, or the collector would run for every few frames. */
function send(link: Duplex, frame: Frame): Promise<void> {
  const octets = encodeFrame(frame);
  return new Promise((resolve, reject) => {
    link.write(octets, (error) => {
      if (link instanceof Socket) release(octets);
      if (error) reject(new AppError('unreachable', 'the link broke while rsync was working', { cause: error }));
      else resolve();
    });
  });
}
