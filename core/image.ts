import type { ErrorCode } from './errors.ts';
import type { Digest, Id, Name } from './ids.ts';

export type ImageKind = 'disk' | 'tree' | 'engine';
export type Arch = 'amd64' | 'arm64';
export type BootType = 'bios' | 'uefi' | 'both' | 'none';

export type Partition = {
  readonly number: number;
  readonly startBytes: number;
  readonly sizeBytes: number;
  /** GPT type GUID (lower case) or MBR type as two hex digits. */
  readonly type: string;
  readonly name?: string;
  readonly bootable?: boolean;
};

export type PartitionTable = { readonly scheme: 'gpt' | 'mbr' | 'none'; readonly partitions: readonly Partition[] };

/** What a machine must know of a disk before it takes the image. */
export type DiskFacts = {
  readonly sizeBytes: number;
  readonly sectorSize: number;
  readonly partitionTable: PartitionTable;
  readonly bootType: BootType;
};

/** The signed body of an image object. `manifest` is the digest of the root of its table of contents. */
export type ImageBody = {
  readonly kind: ImageKind;
  readonly name: Name;
  readonly version: string;
  readonly manifest: Digest;
  readonly arch: Arch;
  readonly sizeBytes: number;
  readonly usedBytes: number;
  readonly createdAt: number;
  /** A label that scopes name. */
  readonly group?: string;
  /** Epoch ms before which no site shows it. */
  readonly activateAt?: number;
  /** Who may see it and from when; absent: everybody. */
  readonly rings?: readonly RingRelease[];
  readonly disk?: DiskFacts;
};

/** Released to sites of this ring and of all lower ones (null: to all sites) from `at` on, epoch ms. */
export type RingRelease = { readonly ring: number | null; readonly at: number };

/**
 * What of an image is here:
 *
 *   known      its object; its content is out of scope, or nobody had it to give
 *   incoming   kept under another version, because its name is taken here
 *   published  all of it, verified; visible unless `waiting` (core/version-choice.ts)
 *   deleted    its origin's tombstone; the content stays while an order or a pin needs it
 */
export type ImageState = 'known' | 'incoming' | 'published' | 'deleted';

/** An image as this server knows it: the object, and what of it is here. */
export type Image = ImageBody & {
  readonly id: Id;
  readonly origin: Id;
  readonly state: ImageState;
  readonly storedBytes: number;
  readonly verifiedAt: number | null;
  readonly waiting: boolean;
  readonly activation: number;
  /** An activation that was set at this site and has not come yet. */
  readonly siteActivateAt: number | null;
  /** What last went wrong for this image here. */
  readonly error: ImageError | null;
};

export type ImageError = { readonly code: ErrorCode; readonly message: string; readonly hint?: string };

/** `NAME[@VERSION]`. */
export type ImageReference = { readonly name: Name; readonly version?: string };
