import { z } from 'zod';
import { canonicalJson, type Json } from '../canonical-json.ts';
import { AppError } from '../errors.ts';
import type { Digest } from '../ids.ts';
import type { DiskFacts } from '../image.ts';
import { MAX_CHUNK_BYTES, MAX_DISK_BYTES, MAX_META_CHARACTERS, MAX_TREE_DEPTH } from './limits.ts';
import { type Extent, type GetChunk, readExtents, type TreeReference, type WalkOptions } from './page-tree.ts';

/*
 * The root of an image's table of contents is canonical JSON, stored as a chunk; its digest is the image's
 * identity. Below it lies a tree of pages (page-tree.ts). A tree image has its files' contents, one after
 * the other, in that tree, and in `files` a second one: the list that says which is which (tree-files.ts).
 */
const digest = z.custom<Digest>((value) => typeof value === 'string' && /^sha256:[0-9a-f]{64}$/.test(value), 'not a digest');
const bytes = z.number().int().nonnegative().max(MAX_DISK_BYTES);
const tree = z.strictObject({ page: digest, depth: z.number().int().min(0).max(MAX_TREE_DEPTH), entries: z.number().int().positive() });

const partition = z.strictObject({
  number: z.number().int().positive(),
  startBytes: bytes,
  sizeBytes: bytes,
  type: z.string().max(36),
  name: z.string().max(72).optional(),
  bootable: z.boolean().optional(),
});

const disk = z.strictObject({
  sizeBytes: bytes,
  sectorSize: z.union([z.literal(512), z.literal(4096)]),
  partitionTable: z.strictObject({ scheme: z.enum(['gpt', 'mbr', 'none']), partitions: z.array(partition).max(1024) }),
  bootType: z.enum(['bios', 'uefi', 'both', 'none']),
});

const DiskRoot = z.strictObject({
  format: z.literal(1),
  kind: z.literal('disk'),
  sizeBytes: bytes.positive(),
  usedBytes: bytes,
  disk,
  tree,
});

const TreeRoot = z.strictObject({
  format: z.literal(1),
  kind: z.enum(['tree', 'engine']),
  sizeBytes: bytes,
  usedBytes: bytes,
  meta: z.record(z.string().max(64), z.string().max(MAX_META_CHARACTERS)),
  /** Null when all files are empty. */
  tree: tree.nullable(),
  files: tree,
});

export type DiskRoot = Omit<z.infer<typeof DiskRoot>, 'disk'> & { readonly disk: DiskFacts };
export type TreeRoot = z.infer<typeof TreeRoot>;
export type Root = DiskRoot | TreeRoot;

const AnyRoot = z.union([DiskRoot, TreeRoot]);

/** The octets of a root. Throws `bad_data` for what `parseRoot` would refuse, and when they would not fit a chunk. */
export function encodeRoot(root: Root): Buffer {
  const parsed = AnyRoot.safeParse(root);
  if (!parsed.success) {
    throw new AppError('bad_data', 'the table of contents would hold more than its format allows', { cause: parsed.error });
  }
  const octets = Buffer.from(canonicalJson(root as unknown as Json));
  if (octets.length > MAX_CHUNK_BYTES) throw new AppError('bad_data', `the table of contents would take ${octets.length} bytes`);
  return octets;
}

/** A root from its JSON text. Throws `bad_data` for anything but a root of this format. */
export function parseRoot(text: string): Root {
  const parsed = AnyRoot.safeParse(parseJson(text));
  if (!parsed.success) {
    throw new AppError('bad_data', 'this is not the root of a manifest', { hint: 'check the digest', cause: parsed.error });
  }
  return parsed.data as Root;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON is the same to the caller as JSON of another shape: the schema refuses it.
    return undefined;
  }
}

/** The trees of pages that hang on a root: the image's content, and a tree image's list of files. */
export function treesOf(root: Root): readonly TreeReference[] {
  if (root.kind === 'disk') return [root.tree];
  return root.tree ? [root.files, root.tree] : [root.files];
}

/** The extents of a disk in order, together exactly its size. Throws `bad_data` at the end when they are not. */
export async function* readDisk(root: DiskRoot, get: GetChunk, options: WalkOptions = {}): AsyncGenerator<Extent> {
  let end = options.from ?? 0;
  for await (const extent of readExtents(root.tree, get, options)) {
    end = extent.offset + extent.length;
    if (end > root.sizeBytes) break;
    yield extent;
  }
  if (end !== root.sizeBytes && !options.visitPage) {
    throw new AppError('bad_data', `the manifest's extents end at ${end}, the disk has ${root.sizeBytes} bytes`);
  }
}
