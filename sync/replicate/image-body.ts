import { z } from 'zod';
import { MAX_DISK_BYTES } from '../../core/content/limits.ts';
import type { Envelope } from '../../core/envelope.ts';
import { AppError } from '../../core/errors.ts';
import type { ImageBody } from '../../core/image.ts';

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const bytes = z.number().int().nonnegative().max(MAX_DISK_BYTES);
/** Epoch milliseconds that a Date can hold. */
const time = z.number().int().nonnegative().max(8.64e15);

/** As `image import --version` takes them. */
const VERSION = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}$/;

const PartitionTable = z.object({
  scheme: z.enum(['gpt', 'mbr', 'none']),
  partitions: z
    .array(
      z.object({
        number: z.number().int(),
        startBytes: bytes,
        sizeBytes: bytes,
        type: z.string().max(64),
        name: z.string().max(256).optional(),
        bootable: z.boolean().optional(),
      }),
    )
    .max(1024),
});

const Body = z.object({
  kind: z.enum(['disk', 'tree', 'engine']),
  name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/),
  version: z.string().regex(VERSION),
  manifest: digest,
  arch: z.enum(['amd64', 'arm64']),
  sizeBytes: bytes,
  usedBytes: bytes,
  createdAt: time,
  group: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/)
    .optional(),
  activateAt: time.optional(),
  rings: z
    .array(z.object({ ring: z.number().int().min(0).max(1000).nullable(), at: time }))
    .max(100)
    .optional(),
  disk: z
    .object({
      sizeBytes: bytes,
      sectorSize: z.number().int().positive(),
      partitionTable: PartitionTable,
      bootType: z.enum(['bios', 'uefi', 'both', 'none']),
    })
    .optional(),
});

/** The body of an image object that came from another server. Throws `bad_data`: signed, but not what this release reads. */
export function parseImageBody(envelope: Envelope): ImageBody {
  const parsed = Body.safeParse(envelope.body);
  if (parsed.success) return parsed.data as unknown as ImageBody;
  throw new AppError('bad_data', `image object ${envelope.id} of server ${envelope.origin} is not one that this release can read`, {
    hint: 'upgrade this server',
  });
}
