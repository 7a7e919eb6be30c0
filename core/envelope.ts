import { createHash } from 'node:crypto';
import { canonicalJson, type Json } from './canonical-json.ts';
import { type Digest, digestFromBytes, type Id } from './ids.ts';

/** The kinds that this release makes and uses; stored and replicated objects may be of others. */
export type ObjectKind = 'image' | 'document' | 'deputy' | 'takeover';

/**
 * A replicated object as it travels: made and signed by its origin, passed on unchanged by relays.
 * A tombstone is an envelope whose body is `null`: absence deletes nothing.
 */
export type Envelope<Body extends Json = Json> = {
  readonly kind: ObjectKind;
  readonly id: Id;
  readonly origin: Id;
  readonly revision: number;
  readonly body: Body;
  /** SHA-256 of the canonical JSON of the body. */
  readonly digest: Digest;
  /** Which of the origin's signing keys made the signature: SHA-256 of its SPKI. */
  readonly keyId: Digest;
  /** Ed25519 over `signedBytes`, base64. */
  readonly signature: string;
};

export function digestOf(value: Json): Digest {
  return digestFromBytes(createHash('sha256').update(canonicalJson(value)).digest());
}

/** The octets that an envelope's signature covers: everything but the body (its digest stands for it) and the signature. */
export function signedBytes(envelope: Omit<Envelope, 'body' | 'signature'>): Buffer {
  const { kind, id, origin, revision, digest, keyId } = envelope;
  return Buffer.from(`waystation-object-1\n${canonicalJson({ kind, id, origin, revision, digest, keyId })}`);
}

/** Epochs are seconds; revisions are 32 bits in some databases, and these count from 2020 on until 2088. */
const REVISIONS_SINCE = 1_600_000_000;

/**
 * The revision of an object's next change. In a new epoch (its server was restored from a backup) it is above every one that was given
 * before: else a change made now would count as one that children hold already, and be lost without a word.
 */
export function nextRevision(held: number, epoch: number): number {
  return Math.max(held + 1, epoch - REVISIONS_SINCE);
}
