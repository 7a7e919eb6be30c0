import type { FrameEncoding } from './content/frame.ts';
import { SYNC_PROTOCOL } from './sync-protocol.ts';

/*
 * How two releases agree (docs/decisions/0018). The child offers the oldest and the newest protocol that it speaks; the
 * parent answers in the newest that both speak. What is new within a protocol is an ability, named by who has it and
 * ignored by who does not know it; a list that is absent is that of release 0.1.
 */

/** The protocols that one side speaks: all from `oldest` to `newest`. */
export type Spoken = { readonly oldest: number; readonly newest: number };

export const OUR_PROTOCOLS: Spoken = { oldest: SYNC_PROTOCOL, newest: SYNC_PROTOCOL };

/** What this release can do for a child beyond 0.1: `encodings`, it reads that member of an archive request; `caps`, its tunnel keeps to the cap that a child tells; `credit`, it begins with the credit that a child tells. */
export const OUR_ABILITIES: readonly string[] = ['encodings', 'caps', 'credit'];

/** The newest protocol that both sides speak, or undefined when there is none. */
export function commonProtocol(ours: Spoken, theirs: Spoken): number | undefined {
  const newest = Math.min(ours.newest, theirs.newest);
  return newest >= Math.max(ours.oldest, theirs.oldest) ? newest : undefined;
}

/** What every release reads. */
export const PLAIN_ENCODINGS: readonly FrameEncoding[] = ['raw', 'zstd'];

/** The encodings that this release can unpack: what its archive requests say. */
export const READ_ENCODINGS: readonly FrameEncoding[] = [...PLAIN_ENCODINGS, 'zstd-base'];

/** The encodings of ours that a child reads, by what its request named; a child of release 0.1 names none and reads the plain ones. */
export function encodingsFor(named: readonly string[] | undefined): readonly FrameEncoding[] {
  return named?.includes('zstd-base') ? [...PLAIN_ENCODINGS, 'zstd-base'] : PLAIN_ENCODINGS;
}
