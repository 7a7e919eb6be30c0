import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { ContentStore } from '../../../core/content-store.ts';
import type { Digest } from '../../../core/ids.ts';
import { type ContentStoreOptions, openContentStore } from '../../../sync/content/open.ts';
import { endInReverse } from '../../helpers/end-in-reverse.ts';

/** A directory that goes when the test ends. */
export async function temporaryDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'waystation-content-'));
  endInReverse(t, () => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** A store that is closed when the test ends; closing it earlier is fine. */
export async function openedStore(t: TestContext, directory: string, options?: ContentStoreOptions): Promise<ContentStore> {
  const store = await openContentStore(directory, options);
  endInReverse(t, () => store.close());
  return store;
}

/** Writes a disk to a file, with holes where it is zero. */
export async function writeSparse(path: string, disk: Buffer): Promise<void> {
  const file = await open(path, 'w');
  for (let at = 0; at < disk.length; at += 65_536) {
    const piece = disk.subarray(at, at + 65_536);
    if (piece.some((octet) => octet !== 0)) await file.write(piece, 0, piece.length, at);
  }
  await file.truncate(disk.length);
  await file.close();
}

export async function sha256(path: string): Promise<string> {
  const sum = createHash('sha256');
  for await (const slice of createReadStream(path)) sum.update(slice as Buffer);
  return sum.digest('hex');
}

/** Imports a disk that is given as octets. */
export async function importOctets(store: ContentStore, directory: string, disk: Buffer): Promise<Digest> {
  const path = join(directory, `disk-${Math.random()}.img`);
  await writeFile(path, disk);
  const { manifest } = await store.importDisk({ path });
  await rm(path);
  return manifest;
}

/** What the image holds, by way of an export. */
export async function exportOctets(store: ContentStore, directory: string, manifest: Digest): Promise<string> {
  const path = join(directory, `export-${Math.random()}.img`);
  await store.exportDisk(manifest, path);
  const sum = await sha256(path);
  await rm(path);
  return sum;
}

export function hashOf(octets: Buffer): string {
  return createHash('sha256').update(octets).digest('hex');
}

/** Names of temporary files anywhere in a store's directory. */
export async function leftovers(root: string): Promise<string[]> {
  const names = await readdir(root, { recursive: true });
  return names.filter((name) => name.endsWith('.tmp') || name.startsWith('tmp/'));
}

export function run(program: string, args: readonly string[], input?: string): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'], ...(input === undefined ? {} : { input }) });
}

/** All octets of a stream. */
export async function readAll(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  const slices: Uint8Array[] = [];
  for await (const slice of stream) slices.push(slice);
  return Buffer.concat(slices);
}
