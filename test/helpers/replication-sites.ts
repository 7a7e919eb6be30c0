import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Image } from '../../core/image.ts';
import type { ConfigFlags } from '../../server/config.ts';
import { importImage } from '../../server/images/import.ts';
import { initialise } from '../../server/initialise.ts';
import { openSite } from '../../server/open-site.ts';
import { type Serving, startServe } from '../../server/serve.ts';
import type { Site } from '../../server/site.ts';
import { issueEnrolToken } from '../../server/trust/enrol-token.ts';
import { joinParent } from '../../server/trust/join.ts';
import { CLEAN_ENV } from './run-cli.ts';

const PORTS = { httpPort: 0, httpsPort: 0, tftpPort: 0, storeReserveBytes: 1_000_000 } as const;

/** An initialised directory, opened; `flags` as serve would get them, `now` its clock. The caller closes the site. */
export async function makeSite(root: string, name: string, flags: ConfigFlags = {}, now = Date.now): Promise<Site> {
  const dataDir = join(root, name);
  await mkdir(root, { recursive: true });
  await initialise({ dataDir, flags: { name, ...PORTS, ...flags }, env: CLEAN_ENV });
  return reopenSite(root, name, flags, now);
}

export function reopenSite(root: string, name: string, flags: ConfigFlags = {}, now = Date.now): Promise<Site> {
  return openSite({ dataDir: join(root, name), flags: { name, ...PORTS, ...flags }, env: CLEAN_ENV, now });
}

/** Enrols `child` at a parent that listens at `url`. */
export async function enrolAt(parent: Site, child: Site, url: string): Promise<void> {
  const { token } = await issueEnrolToken(parent);
  await joinParent(child, { url, token, actor: 'test' });
}

const SECTOR = 512;
const FIRST_SECTOR = 2048;

/** A raw disk with one MBR partition: `bytes` of random data, then as many zeros. */
export async function makeDisk(path: string, bytes: number): Promise<Buffer> {
  const partition = Math.ceil((2 * bytes) / SECTOR);
  const disk = Buffer.alloc((FIRST_SECTOR + partition) * SECTOR);
  disk.writeUInt8(0x83, 446 + 4);
  disk.writeUInt32LE(FIRST_SECTOR, 446 + 8);
  disk.writeUInt32LE(partition, 446 + 12);
  disk.writeUInt16BE(0x55aa, 510);
  randomBytes(bytes).copy(disk, FIRST_SECTOR * SECTOR);
  await writeFile(path, disk);
  return disk;
}

export type Version = { readonly newBytes: number; readonly changedBytes: number };

/**
 * A version of a disk as `makeDisk` makes it: new content, and behind it `changedBytes` of the version before with an octet changed in each
 * block, which come as delta frames.
 */
export async function makeVersion(path: string, { newBytes, changedBytes }: Version, before: Buffer | undefined): Promise<Buffer> {
  const disk = await makeDisk(path, newBytes + changedBytes);
  const from = FIRST_SECTOR * SECTOR + newBytes;
  before?.copy(disk, from, from, from + changedBytes);
  for (let at = from; at < from + changedBytes; at += 4096) disk[at] = ((disk[at] ?? 0) + 1) % 256;
  await writeFile(path, disk);
  return disk;
}

export function importDisk(site: Site, path: string, name = 'debian'): Promise<Image> {
  return importImage(site, { path, name, actor: 'test' });
}

/** The master with its listeners, the branch opened but without a server of its own. */
export async function makePair(
  root: string,
  branchFlags: ConfigFlags = {},
): Promise<{ hq: Site; serving: Serving; branch: Site; close(): Promise<void> }> {
  const hq = await makeSite(root, 'hq');
  const serving = await startServe(hq);
  const branch = await makeSite(root, 'branch', branchFlags);
  await enrolAt(hq, branch, serving.httpsUrl);
  const close = async () => {
    await branch.close();
    await serving.close();
    await hq.close();
  };
  return { hq, serving, branch, close };
}
