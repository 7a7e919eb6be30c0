import { z } from 'zod';
import { Inventory } from './agent-protocol.ts';
import type { Json } from './canonical-json.ts';
import { DeputyChildren } from './deputy.ts';
import { LinkWish } from './site-tree.ts';
import { Endorsement, EnvelopeSchema, SignerRecord } from './sync-protocol.ts';

/**
 * What servers tell each other besides content, over mutual TLS, always on a connection that the child opened:
 *
 *   POST /api/v1/control/reports          Reports       -> ReportAnswer    what happened and changed, upwards
 *   GET  /api/v1/control/pull?after=N     (long poll)   -> Pulled          what the parent wants done, downwards
 *   POST /api/v1/control/answers          Answer        -> {}              the answer to a request that a pull brought
 *
 * Each origin has two streams, both numbered by the origin: `events` (append-only, no gaps) and `states` (the newest state of
 * each thing under the number of its last change; older changes of the same thing are left out).
 */
export const CONTROL_PROTOCOL = 1;

/** One report of a thing, JSON. Larger documents are told without their bulk. */
export const MAX_REPORT_BYTES = 65_536;

const id = z.string().regex(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
const seq = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const name = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/);
const reference = z.string().min(1).max(128);
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const isoTime = z.iso.datetime();
const json = z.json() as unknown as z.ZodType<Json>;

export const ReportedEvent = z.object({
  seq,
  at: z.number().int(),
  actor: z.string().max(128),
  kind: z.string().max(64),
  subject: z.string().max(64),
  data: z.record(z.string(), json),
});

/** `body` null: the thing is gone. What a body must look like is asked by who reads it, so that servers of other releases can pass it on. */
export const ReportedState = z.object({ seq, kind: z.string().max(32), subject: z.string().max(64), body: json });

/** `after`: the mark that the sender believes in. Items come in rising order of their numbers. */
export const ReportBatch = z.discriminatedUnion('stream', [
  z.object({ stream: z.literal('events'), origin: id, after: seq, items: z.array(ReportedEvent).max(1000) }),
  z.object({ stream: z.literal('states'), origin: id, after: seq, items: z.array(ReportedState).max(1000) }),
]);
export type ReportBatch = z.infer<typeof ReportBatch>;

export const Reports = z.object({ protocol: z.number().int(), batches: z.array(ReportBatch).max(200) });
export type Reports = z.infer<typeof Reports>;

/** One for each batch, in order: how far the stream is stored at the parent, whether this batch was new or not; or why it is refused. */
export const ReportMark = z.object({
  origin: id,
  stream: z.enum(['events', 'states']),
  seq,
  refused: z.string().max(512).optional(),
});
export const ReportAnswer = z.object({ protocol: z.number().int(), marks: z.array(ReportMark).max(200) });
export type ReportAnswer = z.infer<typeof ReportAnswer>;

const RunProgress = z.object({
  stage: z.string().max(64),
  doneBytes: z.number(),
  totalBytes: z.number(),
  percent: z.number(),
  etaSeconds: z.number().nullable(),
});

/** A target as its own server tells it. */
export const TargetReport = z.object({
  id,
  name: name.nullable(),
  group: name.nullable(),
  uuid: z.string().max(64).nullable(),
  serial: z.string().max(128).nullable(),
  macs: z.array(z.string().regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/)).max(64),
  arch: z.enum(['amd64', 'arm64']).nullable(),
  firmware: z.enum(['bios', 'uefi']).nullable(),
  environment: z.enum(['unknown', 'firmware', 'engine', 'disk']),
  activity: z.string().max(64),
  discoveredBy: z.enum(['dhcp', 'boot', 'agent', 'operator']),
  createdAt: isoTime,
  seenAt: isoTime.nullable(),
  inventory: Inventory.nullable(),
  order: z.object({ id, state: z.string().max(16), image: z.string().max(128) }).nullable(),
  agent: z
    .object({
      keyId: z.string().max(71),
      state: z.enum(['bound', 'waiting']),
      seenAt: isoTime,
      refusedKeyId: z.string().max(71).nullable(),
      refusedAt: isoTime.nullable(),
    })
    .nullable(),
});
export type TargetReport = z.infer<typeof TargetReport>;

/** An order as the server that runs it tells it. */
export const OrderReport = z.object({
  id,
  state: z.enum(['planned', 'activated', 'pending', 'installing', 'current', 'failed', 'cancelling', 'stopped']),
  target: z.string().max(64),
  targetId: id,
  image: z.string().max(128),
  manifest: digest,
  progress: RunProgress.nullable(),
  error: z.object({ code: z.string().max(64), message: z.string().max(4096), hint: z.string().max(1024).optional() }).nullable(),
  figures: z.record(z.string(), z.number()).nullable(),
  diskWritten: z.boolean(),
  silentSince: isoTime.nullable(),
  managedBy: id.nullable(),
  note: z.string().max(1024).nullable(),
  revision: z.number().int(),
  createdAt: isoTime,
  updatedAt: isoTime,
  endedAt: isoTime.nullable(),
});
export type OrderReport = z.infer<typeof OrderReport>;

/** How a server is, in its own words. */
export const ServerReport = z.looseObject({
  id,
  name,
  version: z.string().max(32),
  at: isoTime,
  startedAt: isoTime,
  disk: z.object({ freeBytes: z.number(), totalBytes: z.number() }),
  images: z
    .array(
      z.object({
        reference: z.string().max(128),
        state: z.string().max(16),
        /** Told when it is so: not all here though wanted; the default of its name, the one before, or waiting; in words what went wrong. */
        missingBytes: z.number().int().nonnegative().optional(),
        role: z.string().max(16).optional(),
        /** `pinned` or `rolled-back`, of the version that operators chose there. */
        choice: z.string().max(16).optional(),
        /** Of what is held. */
        verifiedAt: isoTime.optional(),
        error: z.string().max(512).optional(),
        /** Told when it is not: known here, and not to be. */
        wanted: z.boolean().optional(),
      }),
    )
    .max(500),
  run: z
    .object({
      id,
      state: z.string().max(32),
      percent: z.number().nullable(),
      error: z.string().max(1024).nullable(),
      // Servers of release 0.1 tell none of these.
      code: z.string().max(32).nullable().optional(),
      startedAt: isoTime.optional(),
      endedAt: isoTime.nullable().optional(),
      bytesNeeded: z.number().nonnegative().optional(),
      bytesReceived: z.number().nonnegative().optional(),
      progress: RunProgress.nullable().optional(),
    })
    .nullable(),
  /** Its relation to its parent; null without one. Release 0.1 does not tell. */
  link: z
    .object({
      parentId: id,
      schedule: z.string().max(128).nullable(),
      nextRunAt: isoTime.nullable(),
      lastRunAt: isoTime.nullable(),
      paused: z.object({ by: z.string().max(128), since: isoTime }).nullable(),
      timezone: z.string().max(64).optional(),
      mayStart: z.string().max(32).nullable().optional(),
      mustStop: z.string().max(32).nullable().optional(),
      late: z.string().max(16).optional(),
      capMbit: z.number().nullable().optional(),
      /** A run starts whenever the parent has published. */
      afterParent: z.boolean().optional(),
    })
    .nullable()
    .optional(),
  settings: z.record(z.string(), z.object({ value: z.string().max(64), from: z.string().max(64) })),
  /** Which fields of its link a file says ("site apply"), also while it has no link. */
  managed: z.array(z.string().max(32)).max(32).optional(),
  /** The rings that a file says of its children, by their id. */
  rings: z.record(id, z.number().int().nullable()).optional(),
  alarms: z.array(z.string().max(512)).max(100),
});
export type ServerReport = z.infer<typeof ServerReport>;

/** An image that its server offers to those above. */
export const OfferReport = z.object({
  id,
  reference: z.string().max(128),
  kind: z.enum(['disk', 'tree', 'engine']),
  arch: z.enum(['amd64', 'arm64']),
  sizeBytes: z.number().int().nonnegative(),
  usedBytes: z.number().int().nonnegative(),
  manifest: digest,
  state: z.enum(['offered', 'approved', 'refused', 'published', 'failed']),
  words: z.string().max(1024).nullable(),
  createdAt: isoTime,
});
export type OfferReport = z.infer<typeof OfferReport>;

/** The signed object of an offer, with what a reader needs to believe in it: relays add who they vouch for. */
export const OfferedObject = z.object({
  object: EnvelopeSchema,
  signers: z.array(SignerRecord).max(64),
  endorsements: z.array(Endorsement).max(64),
});
export type OfferedObject = z.infer<typeof OfferedObject>;

/** Asks the offering server to open a tunnel upwards in which it serves the parts of one archive. The ticket is good for one connection. */
export const TunnelQuery = z.object({ archive: z.string().regex(/^[0-9a-f]{64}$/), ticket: id });
export type TunnelQuery = z.infer<typeof TunnelQuery>;

/** An order made above for a machine here. The image was resolved where it was made. */
export const OrderCommand = z.object({
  orderId: id,
  targetId: id,
  imageId: id,
  reference,
  manifest: digest,
  params: z.object({
    imageName: reference,
    arch: z.enum(['amd64', 'arm64']),
    sizeBytes: z.number().int().nonnegative(),
    sectorSize: z.number().int(),
    bootType: z.enum(['bios', 'uefi', 'both', 'none']),
    disk: z.string().max(32).nullable(),
  }),
});
export type OrderCommand = z.infer<typeof OrderCommand>;

export const TargetCommand = z.object({
  targetId: id,
  name: name.nullable(),
  uuid: z.string().max(64).optional(),
  serial: z.string().max(128).optional(),
  macs: z.array(z.string().regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/)).max(64),
  arch: z.enum(['amd64', 'arm64']).optional(),
  firmware: z.enum(['bios', 'uefi']).optional(),
  group: name.nullable().optional(),
});
export type TargetCommand = z.infer<typeof TargetCommand>;

/** What a server above asks for, one after the other. Kinds that a release does not know are refused by it, in words, and reported. */
export const COMMANDS = {
  'target.add': TargetCommand,
  'target.group': z.object({ targetId: id, group: name.nullable() }),
  'target.remove': z.object({ targetId: id }),
  'target.approve': z.object({ targetId: id, keyId: digest }),
  'order.create': OrderCommand,
  'order.stop': z.object({ orderId: id }),
  'offer.decided': z.object({
    imageId: id,
    state: z.enum(['approved', 'refused', 'published', 'failed']),
    words: z.string().max(1024).nullable(),
  }),
  'link.put': z.object({ wish: LinkWish, file: z.string().max(255) }),
  'deputy.put': DeputyChildren,
  'ring.put': z.object({ server: id, ring: z.number().int().min(0).max(1000).nullable(), file: z.string().max(255).nullable() }),
  'setting.put': z.object({ key: z.string().max(64), value: z.string().max(64).nullable() }),
} as const;
export type CommandKind = keyof typeof COMMANDS;
export type CommandBody<Kind extends CommandKind> = z.infer<(typeof COMMANDS)[Kind]>;

/** `dest` is the server it is for: who pulls it, or one behind that. `origin` is the server where it was made. */
export const Command = z.object({
  seq,
  id,
  dest: id,
  origin: id,
  kind: z.string().max(32),
  body: json,
  actor: z.string().max(128),
  createdAt: z.number().int(),
});
export type Command = z.infer<typeof Command>;

/** A question that is answered while somebody waits; nothing of it is kept. */
export const ControlRequest = z.object({ id, dest: id, kind: z.string().max(32), query: json });
export type ControlRequest = z.infer<typeof ControlRequest>;

export const Pulled = z.object({
  protocol: z.number().int(),
  /** Of the parent's catalogue. When it changes, the parent was set back: how far it has our reports is asked anew. */
  epoch: z.number().int().optional(),
  /** Whether the parent gives who asks no content (`server pause`); one of an older release does not say it. */
  paused: z.boolean().optional(),
  commands: z.array(Command).max(200),
  requests: z.array(ControlRequest).max(50),
});
export type Pulled = z.infer<typeof Pulled>;

export const LogQuery = z.object({
  order: z.string().max(64).optional(),
  run: z.string().max(64).optional(),
  target: z.string().max(128).optional(),
  since: z.number().int().optional(),
  limit: z.number().int().min(1).max(1000),
});
export type LogQuery = z.infer<typeof LogQuery>;

export const LogAnswer = z.object({
  items: z.array(z.looseObject({ time: z.string(), level: z.string(), event: z.string() })).max(1000),
});

/** Exactly one of `result` and `error`. */
export const Answer = z.object({
  protocol: z.number().int(),
  id,
  result: json.optional(),
  error: z.object({ code: z.string().max(64), message: z.string().max(4096), hint: z.string().max(1024).optional() }).optional(),
});
export type Answer = z.infer<typeof Answer>;
