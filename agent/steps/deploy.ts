import type { DeployTask } from '../../core/agent-protocol.ts';
import { type DiskRoot, readDisk } from '../../core/content/manifest.ts';
import type { Extent } from '../../core/content/page-tree.ts';
import type { Digest } from '../../core/ids.ts';
import type { ServerClient } from '../client.ts';
import type { Machine } from '../machine.ts';
import type { Patience } from '../patience.ts';
import { chooseDisk } from './choose-disk.ts';
import { type OpenDisk, openDisk } from './disk.ts';
import type { ChunkSource } from './fetch-chunks.ts';
import { clearFirstBootRecord, writeFirstBootRecord } from './first-boot-record.ts';
import type { Meter } from './meter.ts';
import { readBack } from './read-back.ts';
import { createPageReader, type PageReader, readDiskRoot } from './read-manifest.ts';
import { HEAD_BYTES, splitAtHead } from './regions.ts';
import { writeExtents } from './write-extents.ts';
import { writeZeros } from './zeros.ts';

export type StepWorld = {
  readonly client: Pick<ServerClient, 'chunks' | 'server'>;
  readonly machine: Machine;
  readonly meter: Meter;
  readonly patience: Patience;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
};

const EFI_SYSTEM_PARTITION = 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b';

/**
 * Puts an image on a disk. The order matters:
 *
 *   1. refuse what does not fit, before an octet is written
 *   2. empty the head (partition table) and the record at the end: from here on nothing on the disk looks whole
 *   3. write the body; what is right already stays, so power loss costs only what was under way
 *   4. flush, drop the caches, read back a sample of the body
 *   5. write the head, flush, read it back
 *   6. write the first-boot record, flush: the disk is whole
 *
 * Errors: `does_not_fit`; `bad_data` (the server gives wrong content); `mismatch` (the disk does); `failed` (the
 * disk refuses); `cancelled`.
 */
export async function deploy(task: DeployTask, world: StepWorld): Promise<void> {
  const chosen = chooseDisk(task, await world.machine.inventory());
  const onOctets = (count: number) => {
    world.meter.counts.fetched += count;
  };
  const source = { ...world, manifest: task.manifest as Digest, onOctets };
  const pages = createPageReader(source);
  const root = await readDiskRoot(pages, task);
  world.say(`deploying ${task.imageName} to disk ${chosen.name}`);
  const disk = await openDisk(world.machine.diskPath(chosen.name), chosen);
  try {
    await clearHead(disk, world);
    const head = await writeBody({ disk, root, pages, source, world, seed: task.orderId });
    await writeHead({ disk, root, pages, source, world, seed: task.orderId }, head);
    const ca = world.client.server.caPem();
    await writeFirstBootRecord(disk, { url: world.client.server.url, ca, orderId: task.orderId, nonce: task.firstBoot.nonce });
  } finally {
    await disk.close();
  }
  world.meter.begin('verified', root.sizeBytes);
  world.meter.advance(root.sizeBytes);
  await setNextBoot(chosen.name, root, world);
}

type Work = {
  readonly disk: OpenDisk;
  readonly root: DiskRoot;
  readonly pages: PageReader;
  readonly source: ChunkSource;
  readonly world: StepWorld;
  readonly seed: string;
};

async function clearHead(disk: OpenDisk, { meter }: StepWorld): Promise<void> {
  meter.begin('preparing', HEAD_BYTES);
  await writeZeros(disk, { offset: 0, length: Math.min(HEAD_BYTES, disk.sizeBytes) });
  await clearFirstBootRecord(disk);
  await disk.sync();
}

/** Writes and samples everything behind the head, and gives the extents of the head. */
async function writeBody(work: Work): Promise<Extent[]> {
  const { disk, root, pages, world } = work;
  const head: Extent[] = [];
  world.meter.begin('writing', root.sizeBytes);
  await writeExtents({ ...work, ...world }, bodyOf(readDisk(root, pages), head));
  await flush(disk, world);
  world.meter.begin('reading back', root.sizeBytes);
  await readBack({ ...work, ...world }, bodyOf(readDisk(root, pages), []));
  return head;
}

async function writeHead(work: Work, head: readonly Extent[]): Promise<void> {
  const { disk, world } = work;
  world.meter.begin('finishing', HEAD_BYTES);
  await writeExtents({ ...work, ...world }, head);
  await flush(disk, world);
  await readBack({ ...work, ...world }, head);
}

async function* bodyOf(extents: AsyncIterable<Extent>, head: Extent[]): AsyncGenerator<Extent> {
  for await (const extent of extents) {
    const parts = splitAtHead(extent);
    if (parts.head !== undefined) head.push(parts.head);
    if (parts.body !== undefined) yield parts.body;
  }
}

async function flush(disk: OpenDisk, { meter, machine }: StepWorld): Promise<void> {
  meter.begin('flushing', 0);
  await disk.sync();
  await machine.dropCaches();
}

/** The disk is written; a firmware that will not be told where to boot is worth a line, not a failed order. */
async function setNextBoot(disk: string, root: DiskRoot, { machine, say }: StepWorld): Promise<void> {
  const esp = root.disk.partitionTable.partitions.find(({ type }) => type === EFI_SYSTEM_PARTITION || type === 'ef');
  try {
    if ((await machine.inventory()).firmware === 'uefi') await machine.setNextBoot(disk, esp?.number);
  } catch (error) {
    say(`the firmware's boot order stays as it is: ${error instanceof Error ? error.message : String(error)}`);
  }
}
