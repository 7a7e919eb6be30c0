import { z } from 'zod';
import { MAX_CAP_BPS } from './schedule/caps.ts';

/**
 * What a child asks of its parent, over mutual TLS (the child's certificate was issued by the parent):
 *
 *   POST /api/v1/enrol                    EnrolRequest   -> EnrolAnswer     with a one-time token
 *   POST /api/v1/sync/renew               {csr}          -> {certificate}     the same key, also when the old certificate expired
 *   GET  /api/v1/sync/catalogue?protocol=P&newest=N&…    -> Catalogue       P to N: the protocols that the child speaks (core/negotiate.ts)
 *   GET  /api/v1/sync/wait?since=G                       -> News            long poll: the catalogue is past G
 *   POST /api/v1/sync/archives            ArchiveRequest -> ArchivePlan     build or find; poll while `building`
 *   GET  /api/v1/sync/tunnel?archive=KEY  Upgrade: waystation-rsync         rsync daemon protocol inside credit frames
 */
export const SYNC_PROTOCOL = 1;

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const id = z.string().regex(/^[0-9a-f-]{36}$/);
/** Epoch milliseconds that a Date can hold. */
const time = z.number().int().nonnegative().max(8.64e15);
const name = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/);

/** A word by which one side says what it can do; words that the other side does not know are ignored. */
const ability = z.string().regex(/^[a-z][a-z0-9-]{0,31}$/);

/** A kind that this release does not know is that of a later one: such objects are verified, kept and passed on, and nothing more. */
const kind = z.string().regex(/^[a-z][a-z0-9-]{0,15}$/);

export const EnvelopeSchema = z.object({
  kind,
  id,
  origin: id,
  revision: z.number().int().positive(),
  body: z.json(),
  digest,
  keyId: digest,
  signature: z.string().max(128),
});

/** A server's signing key, vouched for by that server's CA key: how a relay's reader checks an origin. */
export const SignerRecord = z.object({
  serverId: id,
  keyId: digest,
  /** SPKI, DER, base64. */
  publicKey: z.string().max(512),
  /** The CA certificate of that server, PEM. */
  ca: z.string().max(8192),
  /** ECDSA P-256/SHA-256 by the CA key over `waystation-signer-1\n` + canonical JSON of {serverId, keyId, publicKey}, base64. */
  signature: z.string().max(256),
});
export type SignerRecord = z.infer<typeof SignerRecord>;

/**
 * A server vouches for one that enrolled with it: how an origin is known that the reader never met. `signature` is Ed25519 by
 * the endorser's key `keyId` over `waystation-endorsement-1\n` + canonical JSON of {endorser, serverId, name, caPin}, base64.
 */
export const Endorsement = z.object({ endorser: id, serverId: id, name, caPin: digest, keyId: digest, signature: z.string().max(128) });
export type Endorsement = z.infer<typeof Endorsement>;

/** A server above the parent, as the parent tells its child when it enrols. */
export const Ancestor = z.object({ serverId: id, name, caPin: digest });
export type Ancestor = z.infer<typeof Ancestor>;

const mark = z
  .string()
  .regex(/^[0-9a-f]{16}$/)
  .optional();

export const CatalogueHead = z.object({
  serverId: id,
  /** A restored or rebuilt server takes a higher epoch; a lower one is refused. */
  epoch: z.number().int().nonnegative(),
  generation: z.number().int().nonnegative(),
  since: z.number().int().nonnegative(),
  issuedAt: time,
  expiresAt: time,
  /** SHA-256 of the canonical JSON of the list of object digests in this answer, in order. */
  objectsDigest: digest,
  /** In an archive file: the digest of what content it brings (core/archive-file.ts). Never in an answer over a link. */
  archive: digest.optional(),
});
export type CatalogueHead = z.infer<typeof CatalogueHead>;

/** A child's place in the tree, told by its parent over the pinned connection. */
export const Tier = z.object({
  /** Ids of the servers above the parent, nearest first. */
  ancestors: z.array(id).max(64),
  /** The child's ring (core/version-choice.ts); null: the last to see a version. */
  ring: z.number().int().min(0).max(1000).nullable(),
  /** Whether the parent is in the middle of a run of its own. */
  busy: z.boolean(),
});
export type Tier = z.infer<typeof Tier>;

const bps = z.number().int().positive().max(MAX_CAP_BPS);

/**
 * What a child gets of the limit that its parent has set for all children together, bits per second: `bps` beside those who fetch at
 * this moment, `leastBps` when all fetch that may.
 */
export const EgressShare = z.object({ bps, leastBps: bps });
export type EgressShare = z.infer<typeof EgressShare>;

/** The answer of `sync/wait`. */
export const News = z.object({ epoch: z.number().int(), generation: z.number().int(), busy: z.boolean() });
export type News = z.infer<typeof News>;

export const Catalogue = z.object({
  protocol: z.number().int(),
  head: CatalogueHead,
  keyId: digest,
  /** Ed25519 by the parent over `waystation-catalogue-1\n` + canonical JSON of head, base64. */
  signature: z.string().max(128),
  signers: z.array(SignerRecord).max(1000),
  /** For origins that are not above the reader; absent from release 0.1. */
  endorsements: z.array(Endorsement).max(1000).optional(),
  objects: z.array(EnvelopeSchema),
  /** Of the head's `generation`, and of `since` where that is another: what a server that was restored from a backup cannot give again. */
  mark,
  sinceMark: mark,
  /** What the parent can do beyond release 0.1 (core/negotiate.ts). */
  abilities: z.array(ability).max(64).optional(),
  /** Absent from release 0.1. */
  tier: Tier.optional(),
  /** Absent from release 0.1, and where nothing limits what all children get. */
  share: EgressShare.optional(),
});
export type Catalogue = z.infer<typeof Catalogue>;

/**
 * `have` and `want` are manifests. With `wantChunks` the answer holds these chunks and nothing else, in plain frames, each
 * of them a chunk of a manifest in `want`; those that the parent itself lacks are left out.
 * `encodings` are those of core/content/frame.ts that the child can unpack; absent (release 0.1): raw and zstd.
 */
export const ArchiveRequest = z.object({
  protocol: z.number().int(),
  have: z.array(digest).max(10_000),
  want: z.array(digest).max(10_000),
  wantChunks: z.array(digest).max(100_000).optional(),
  encodings: z.array(ability).max(16).optional(),
  /** Whether an archive of those wanted manifests that the server holds will do; else one that it lacks is `not_found`. */
  partial: z.boolean().optional(),
});
export type ArchiveRequest = z.infer<typeof ArchiveRequest>;

/** One file of an archive. `name` is the SHA-256 of its bytes, 64 hex digits, and its file name. */
export const ArchivePart = z.object({
  name: z.string().regex(/^[0-9a-f]{64}$/),
  sizeBytes: z.number().int().positive(),
  rawBytes: z.number().int().nonnegative(),
  frames: z.number().int().nonnegative(),
});
export type ArchivePart = z.infer<typeof ArchivePart>;

export const ArchivePlan = z.object({
  key: z.string().regex(/^[0-9a-f]{64}$/),
  state: z.enum(['building', 'ready']),
  doneBytes: z.number().int().nonnegative(),
  totalBytes: z.number().int().nonnegative(),
  parts: z.array(ArchivePart),
  /** Wanted manifests whose content the server does not hold; only for a `partial` request. */
  absent: z.array(digest).optional(),
});
export type ArchivePlan = z.infer<typeof ArchivePlan>;

export const EnrolRequest = z.object({
  protocol: z.number().int(),
  token: z.string().max(512),
  serverId: id,
  name,
  /** PKCS#10, PEM: the key of the child's TLS client certificate. */
  csr: z.string().max(8192),
  signer: SignerRecord,
  /** `content`: to take content from here and nothing else; the sender is no child. Release 0.1 makes a child of it. */
  purpose: z.enum(['content']).optional(),
});

export const EnrolAnswer = z.object({
  protocol: z.number().int(),
  serverId: id,
  name,
  /** The child's client certificate, issued by the parent's CA, PEM. */
  certificate: z.string().max(8192),
  ca: z.string().max(8192),
  signer: SignerRecord,
  /** From the parent's parent to the root; the token holds their digest. Absent when the parent is the root. */
  ancestors: z.array(Ancestor).max(32).optional(),
});
