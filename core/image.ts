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
  readonly disk?: DiskFacts;
};

/** An image as this server knows it: the object, and what of it is here. */
export type Image = ImageBody & {
  readonly id: Id;
  readonly origin: Id;
  readonly state: 'incoming' | 'published' | 'deleted';
  readonly storedBytes: number;
  readonly verifiedAt: number | null;
};

/** `NAME[@VERSION]`. */
export type ImageReference = { readonly name: Name; readonly version?: string };
