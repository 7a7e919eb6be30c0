import { z } from 'zod';

/**
 * What the agent in the engine and its server say to each other: JSON over TLS 1.3, the agent with a
 * self-made client certificate (its key is its identity), the server pinned by its CA's SPKI.
 *
 *   POST /api/v1/agent/hello    Hello      -> Welcome       binds the key to the target
 *   POST /api/v1/agent/next     {}         -> Instruction   long poll, at most 25 s
 *   POST /api/v1/agent/report   Report     -> {state}
 *   POST /api/v1/agent/chunks   ChunkRequest -> frames      application/octet-stream, core/content/frame.ts
 *   POST /api/v1/first-boot     FirstBoot  -> {state}       no certificate: the nonce is the proof
 *
 * Strings from a machine are hostile: lengths are bounded here, markup is the reader's business.
 */
const text = z.string().max(256);
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const id = z.string().regex(/^[0-9a-f-]{36}$/);
const bytes = z.number().int().nonnegative();

export const Disk = z.object({
  /** Kernel name, `vda`. */
  name: text,
  sizeBytes: bytes,
  sectorSize: z.number().int(),
  model: text.optional(),
  serial: text.optional(),
  removable: z.boolean().optional(),
  rotational: z.boolean().optional(),
});

export const Nic = z.object({ name: text, mac: z.string().regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/), driver: text.optional() });

export const Inventory = z.object({
  uuid: text.optional(),
  serial: text.optional(),
  manufacturer: text.optional(),
  product: text.optional(),
  biosVersion: text.optional(),
  arch: z.enum(['amd64', 'arm64']),
  firmware: z.enum(['bios', 'uefi']),
  cpu: z.object({ model: text, count: z.number().int().positive() }),
  memoryBytes: bytes,
  disks: z.array(Disk).max(256),
  nics: z.array(Nic).max(64),
  pci: z.array(z.object({ slot: text, class: text, vendor: text, device: text, driver: text.optional() })).max(1024),
});
export type Inventory = z.infer<typeof Inventory>;

export const Hello = z.object({
  protocol: z.number().int(),
  bootId: id,
  agentVersion: text,
  engine: digest.optional(),
  inventory: Inventory,
});
export type Hello = z.infer<typeof Hello>;

export const Welcome = z.object({ protocol: z.literal(1), targetId: id, targetName: text.nullable(), nowMs: z.number().int() });
export type Welcome = z.infer<typeof Welcome>;

/** A deploy task, whole: everything the agent needs is in it or behind a digest in it. */
export const DeployTask = z.object({
  kind: z.literal('deploy'),
  orderId: id,
  /** Root of the image's table of contents (core/content/manifest.ts); fetched as a chunk. */
  manifest: digest,
  imageName: text,
  arch: z.enum(['amd64', 'arm64']),
  sizeBytes: bytes,
  sectorSize: z.number().int(),
  bootType: z.enum(['bios', 'uefi', 'both', 'none']),
  /** Kernel name of the disk to write, or null: the smallest fixed disk that fits. */
  disk: text.nullable(),
  /** What the first-boot service of the deployed system reads from the end of the disk. */
  firstBoot: z.object({ nonce: z.string().regex(/^[0-9a-f]{64}$/) }),
});
export type DeployTask = z.infer<typeof DeployTask>;

export const Instruction = z.discriminatedUnion('action', [
  z.object({ action: z.literal('wait'), reason: text }),
  z.object({ action: z.literal('task'), task: DeployTask }),
  z.object({ action: z.literal('reboot'), reason: text }),
  z.object({ action: z.literal('stop'), orderId: id }),
]);
export type Instruction = z.infer<typeof Instruction>;

/**
 * What happened to a task. `progress` repeats while it runs (the answer says `cancelling` when the
 * agent must let go), `verified` after the read-back and the nonce are on the disk, `failed` with words,
 * `released` when a cancelled task was let go.
 */
export const Report = z.object({
  orderId: id,
  event: z.enum(['progress', 'verified', 'failed', 'released']),
  progress: z
    .object({ stage: text, doneBytes: bytes, totalBytes: bytes, percent: z.number(), etaSeconds: z.number().nullable() })
    .optional(),
  error: z.object({ code: text, message: z.string().max(2000), hint: z.string().max(2000).optional() }).optional(),
  /** Bytes per second to the disk and other figures for the timeline. */
  figures: z.record(text, z.number()).optional(),
});
export type Report = z.infer<typeof Report>;

export const ReportAnswer = z.object({ state: text });

export const ChunkRequest = z.object({ manifest: digest, digests: z.array(digest).min(1).max(1024) });

/** The call of the deployed system. */
export const FirstBoot = z.object({ orderId: id, nonce: z.string().regex(/^[0-9a-f]{64}$/) });

export const AGENT_PROTOCOL = 1;

/**
 * The first-boot record: the last 64 KiB of the disk, which must lie behind the image's last byte.
 * Octets: magic `WAYSTATION-FIRST-BOOT-1\n`, then one line of JSON `{url, ca, orderId, nonce}` (`ca` is the
 * PEM of the server's CA, `url` the HTTPS base) and `\n`, then zeros. The service in the deployed system
 * reads it, posts FirstBoot to `url`/api/v1/first-boot trusting only `ca`, and then zeros the record.
 */
export const FIRST_BOOT_MAGIC = 'WAYSTATION-FIRST-BOOT-1\n';
export const FIRST_BOOT_RECORD_BYTES = 65_536;
