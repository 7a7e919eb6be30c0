import type { OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import { parseName, printable } from '../../core/ids.ts';
import type { Arch, Image } from '../../core/image.ts';
import { readMoment } from '../../core/schedule/moment.ts';
import { requireQuota } from '../care/quota.ts';
import { siteZone } from '../schedule/site-zone.ts';
import type { Site } from '../site.ts';
import { chooseVersion, publishImage } from './publish.ts';
import { parseVersion } from './reference.ts';

export type ImportRequest = {
  /** Absolute path of a file on this machine. */
  readonly path: string;
  readonly name: string;
  readonly version?: string | undefined;
  readonly arch?: string | undefined;
  /** 512 or 4096; without it 512 unless the GPT header says otherwise. */
  readonly sectorSize?: number | undefined;
  /** A label that scopes name. */
  readonly group?: string | undefined;
  /** ISO 8601 time before which no site shows it; without a zone on the clock of this site. */
  readonly activateAt?: string | undefined;
  /** Sites of this ring and of lower ones see it first. */
  readonly ring?: number | undefined;
  readonly actor: string;
};

/**
 * Takes a disk image file into the store and publishes it. What can be refused is refused before a byte is read:
 * `usage` (name, version, architecture), `name_taken`. Then the errors of `ContentStore.importDisk`: `bad_data`,
 * `disk_full`, `not_found`. A failed import leaves no image; chunks that it stored already are the next `store gc`'s.
 */
export async function importImage(site: Site, request: ImportRequest, onProgress?: OnProgress): Promise<Image> {
  const name = parseName(request.name);
  const arch = parseArch(request.arch ?? 'amd64');
  const version = request.version === undefined ? undefined : parseVersion(request.version);
  const sectorSize = request.sectorSize === undefined ? undefined : parseSectorSize(request.sectorSize);
  const group = request.group === undefined ? undefined : parseName(request.group);
  const activateAt = request.activateAt === undefined ? undefined : timeToCome(await readTime(site, request.activateAt), site.now());
  const ring = request.ring === undefined ? undefined : parseRing(request.ring);
  await chooseVersion(site.db, name, version);
  await requireQuota(site, 0);
  const source = { path: request.path, ...(sectorSize === undefined ? {} : { sectorSize }) };
  const imported = await site.store.importDisk(source, onProgress);
  return publishImage(site, { imported, name, version, arch, group, activateAt, ring, actor: request.actor });
}

/** ISO 8601 as epoch ms; without a zone on the clock of this site. Throws `usage`. */
export async function readTime(site: Pick<Site, 'db' | 'config'>, text: string): Promise<number> {
  const at = readMoment(text, await siteZone(site));
  if (at !== undefined) return at;
  throw new AppError('usage', `"${printable(text)}" is not a time`, { hint: 'ISO 8601, as in 2027-01-31T02:00:00Z' });
}

/** What must be ahead: a year that is mistyped would show a version everywhere at once. Throws `usage`. */
export function timeToCome(at: number, now: number): number {
  if (at > now) return at;
  throw new AppError('usage', `${new Date(at).toISOString()} is past`, { hint: 'leave the time out to activate it now' });
}

/** Throws `usage` for what is no ring: rings count from 0, the pilots. */
export function parseRing(ring: number): number {
  if (Number.isInteger(ring) && ring >= 0 && ring <= 1000) return ring;
  throw new AppError('usage', `${ring} is not a ring`, { hint: 'rings are 0 (the pilots) to 1000' });
}

function parseArch(text: string): Arch {
  if (text === 'amd64' || text === 'arm64') return text;
  throw new AppError('usage', `"${printable(text)}" is not an architecture`, { hint: 'amd64 or arm64' });
}

function parseSectorSize(size: number): number {
  if (size === 512 || size === 4096) return size;
  throw new AppError('usage', `${size} is not a sector size`, { hint: '512 or 4096' });
}
