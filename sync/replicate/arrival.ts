import { WINDOW_BYTES } from '../tunnel/frames.ts';
import { fetchPart, type PartWish } from './fetch-part.ts';
import type { RunTools } from './ports.ts';

/** How long before a part's end the next one is begun: a connection and rsync's greetings over a far line on a busy machine. */
const AHEAD_MS = 3_000;
/** Octets that may be under way of the part that comes next as soon as no more than these are left of the one before. */
const HALF_BYTES = WINDOW_BYTES / 2;

/** When a part that was begun ahead may have the link: the two together never have more than one window under way. */
export type Turn = {
  /** At most half a window is left of the part before. */
  readonly half: Promise<void>;
  /** Nothing is left of it, or it cannot be had. */
  readonly whole: Promise<void>;
  readonly isWhole: () => boolean;
};

/** One part on its way. */
export type Arrival = {
  /** It is time to begin the next part. Fails when this one cannot be had. */
  readonly near: Promise<void>;
  /** The part is here, its size and hash checked. Fails when it cannot be had. */
  readonly fetched: Promise<void>;
  /** When the link is the next one's. */
  readonly next: Turn;
};

/**
 * Fetches a part. Its octets are counted as rsync gets them, so `near` and the turn of the next part come while its end is still on
 * the link. Where the server that gives does not keep to the credit it is told, `near` is when all octets of the part have arrived.
 */
export function startFetch(tools: RunTools, wish: PartWish): Arrival {
  const [near, half, whole] = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const keepsCredit = () => tools.content.keepsCredit?.() === true;
  const rate = rateMeter(tools.monotonicMs);
  let isWhole = false;
  const arrived = () => {
    isWhole = true;
    for (const { resolve } of [near, half, whole]) resolve();
  };
  const onBytes = (heldBytes: number) => {
    wish.onBytes(heldBytes);
    const left = wish.part.sizeBytes - heldBytes;
    if (left <= rate(heldBytes) * AHEAD_MS && keepsCredit()) near.resolve();
    if (left <= HALF_BYTES) half.resolve();
    if (left <= 0) arrived();
  };
  const fetched = fetchPart(tools, { ...wish, onBytes });
  fetched.then(arrived, (error) => {
    near.reject(error);
    arrived();
  });
  return { near: near.promise, fetched, next: { half: half.promise, whole: whole.promise, isWhole: () => isWhole } };
}

/** Octets per ms since the first look. */
function rateMeter(now: () => number): (heldBytes: number) => number {
  let first: { readonly atMs: number; readonly bytes: number } | undefined;
  return (bytes) => {
    first ??= { atMs: now(), bytes };
    const elapsedMs = now() - first.atMs;
    return elapsedMs > 0 ? (bytes - first.bytes) / elapsedMs : 0;
  };
}
