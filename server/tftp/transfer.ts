import type { Terms } from './negotiate.ts';
import { encodeData, encodeError, encodeOack, TFTP_ERROR, type TftpPacket } from './packet.ts';
import { backedOff, measured, NO_ROUND_TRIP, type RoundTrip, restored } from './round-trip.ts';

/**
 * One read, as a pure machine: `(state, event) → [state, actions]`. Blocks have absolute numbers here
 * (0 is the option acknowledgement) and 16 bits on the wire, so that files may be longer than 65535 blocks.
 *
 *   offered    the first packet is out, the client's address is not proved yet: few repeats, no more than one packet
 *   flowing    an answer came; up to a window of blocks is out
 *   ended      the last block was acknowledged, the client said an error, or nobody answers
 *
 * An ACK that acknowledges nothing new is never answered: repeating DATA for it doubles every later packet
 * (Sorcerer's Apprentice, RFC 1123 §4.2.3.1). Only the timer repeats.
 */
export type Transfer = {
  readonly phase: 'offered' | 'flowing' | 'ended';
  readonly content: Uint8Array;
  readonly terms: Terms;
  /** Highest block acknowledged; -1 while the option acknowledgement is not. */
  readonly acked: number;
  /** Highest block ever sent. */
  readonly sent: number;
  readonly roundTrip: RoundTrip;
  /** When the newest window went out; undefined once any of it was repeated. */
  readonly sentAtMs: number | undefined;
  /** Time-outs since the last progress. */
  readonly silences: number;
  /** Packets that were sent again, for the log. */
  readonly repeats: number;
};

export type TransferEvent =
  | { readonly kind: 'start' }
  | { readonly kind: 'packet'; readonly packet: TftpPacket }
  | { readonly kind: 'timeout' };

export type TransferAction =
  | { readonly kind: 'send'; readonly packet: Buffer }
  /** Replaces the timer that is armed. */
  | { readonly kind: 'arm'; readonly afterMs: number }
  | { readonly kind: 'end'; readonly outcome: 'done' | 'aborted' | 'silent'; readonly reason: string };

export type Step = readonly [Transfer, readonly TransferAction[]];

/** Sends of the first packet while nothing proves that the address asked: 0, 200, 600, 1400, 3000 ms. */
const OFFERED_SILENCES = 5;
/** Some 25 s: a client that is still there has asked again by then. */
const FLOWING_SILENCES = 8;

export function newTransfer(content: Uint8Array, terms: Terms): Transfer {
  const first = terms.oack.size > 0 ? -1 : 0;
  return {
    phase: 'offered',
    content,
    terms,
    acked: first,
    sent: first,
    roundTrip: NO_ROUND_TRIP,
    sentAtMs: undefined,
    silences: 0,
    repeats: 0,
  };
}

/** The number of the last block: it is short, and empty when the file fills its blocks (RFC 1350 §6). */
export function lastBlock(transfer: Pick<Transfer, 'content' | 'terms'>): number {
  return Math.floor(transfer.content.length / transfer.terms.blockSizeBytes) + 1;
}

export function step(transfer: Transfer, event: TransferEvent, nowMs: number): Step {
  if (transfer.phase === 'ended') return [transfer, []];
  switch (event.kind) {
    case 'start':
      return sendWindow(transfer, nowMs);
    case 'timeout':
      return repeatWindow(transfer);
    case 'packet':
      return receive(transfer, event.packet, nowMs);
  }
}

function receive(transfer: Transfer, packet: TftpPacket, nowMs: number): Step {
  if (packet.kind === 'ack') return acknowledge(transfer, packet.block, nowMs);
  if (packet.kind === 'error') return end(transfer, 'aborted', `the client said error ${packet.code}`);
  const refusal: TransferAction = { kind: 'send', packet: encodeError(TFTP_ERROR.illegal, 'only acknowledgements here') };
  const [ended, actions] = end(transfer, 'aborted', `the client sent ${packet.kind}`);
  return [ended, [refusal, ...actions]];
}

function acknowledge(transfer: Transfer, wireBlock: number, nowMs: number): Step {
  const block = absoluteBlock(transfer, wireBlock);
  if (block === undefined) return [transfer, []];
  const isSample = transfer.sentAtMs !== undefined && block === transfer.sent;
  const roundTrip = isSample ? measured(transfer.roundTrip, nowMs - (transfer.sentAtMs ?? nowMs)) : restored(transfer.roundTrip);
  const progressed: Transfer = { ...transfer, phase: 'flowing', acked: block, roundTrip, silences: 0 };
  return block === lastBlock(transfer) ? end(progressed, 'done', 'complete') : sendWindow(progressed, nowMs);
}

/** The block in flight that these 16 bits name; undefined for old, repeated and invented acknowledgements. */
function absoluteBlock(transfer: Transfer, wireBlock: number): number | undefined {
  const ahead = (wireBlock - transfer.acked) & 0xffff;
  const block = transfer.acked + ahead;
  return ahead > 0 && block <= transfer.sent ? block : undefined;
}

/** Sends the window behind the last acknowledged block. After an ACK inside a window (RFC 7440 §4) it starts at the gap. */
function sendWindow(transfer: Transfer, nowMs: number): Step {
  const first = transfer.acked + 1;
  const last = windowEnd(transfer);
  const isRepeat = first <= transfer.sent;
  const sent = Math.max(transfer.sent, last);
  const repeats = transfer.repeats + (isRepeat ? transfer.sent - first + 1 : 0);
  return [{ ...transfer, sent, repeats, sentAtMs: isRepeat ? undefined : nowMs }, [...packets(transfer, first, last), arm(transfer)]];
}

function repeatWindow(transfer: Transfer): Step {
  const silences = transfer.silences + 1;
  if (silences >= (transfer.phase === 'offered' ? OFFERED_SILENCES : FLOWING_SILENCES)) {
    return end(transfer, 'silent', `no answer to block ${transfer.acked + 1}`);
  }
  const again = packets(transfer, transfer.acked + 1, windowEnd(transfer));
  const repeats = transfer.repeats + again.length;
  const waiting: Transfer = { ...transfer, silences, repeats, sentAtMs: undefined, roundTrip: backedOff(transfer.roundTrip, silences) };
  return [waiting, [...again, arm(waiting)]];
}

/** Before the first answer one packet is out, whatever window was agreed. */
function windowEnd(transfer: Transfer): number {
  if (transfer.phase === 'offered') return transfer.acked + 1;
  return Math.min(lastBlock(transfer), transfer.acked + transfer.terms.windowSize);
}

function packets(transfer: Transfer, first: number, last: number): TransferAction[] {
  return Array.from({ length: last - first + 1 }, (_, index) => ({ kind: 'send', packet: packetOf(transfer, first + index) }));
}

function packetOf({ content, terms }: Transfer, block: number): Buffer {
  if (block === 0) return encodeOack(terms.oack);
  const start = (block - 1) * terms.blockSizeBytes;
  return encodeData(block, content.subarray(start, start + terms.blockSizeBytes));
}

function arm(transfer: Transfer): TransferAction {
  return { kind: 'arm', afterMs: transfer.roundTrip.timeoutMs };
}

function end(transfer: Transfer, outcome: 'done' | 'aborted' | 'silent', reason: string): Step {
  return [{ ...transfer, phase: 'ended' }, [{ kind: 'end', outcome, reason }]];
}
