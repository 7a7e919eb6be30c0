import type { OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import { parseName, printable } from '../../core/ids.ts';
import type { Arch, Image } from '../../core/image.ts';
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
  await chooseVersion(site.db, name, version);
  const source = { path: request.path, ...(sectorSize === undefined ? {} : { sectorSize }) };
  const imported = await site.store.importDisk(source, onProgress);
  return publishImage(site, { imported, name, version, arch, actor: request.actor });
}

function parseArch(text: string): Arch {
  if (text === 'amd64' || text === 'arm64') return text;
  throw new AppError('usage', `"${printable(text)}" is not an architecture`, { hint: 'amd64 or arm64' });
}

function parseSectorSize(size: number): number {
  if (size === 512 || size === 4096) return size;
  throw new AppError('usage', `${size} is not a sector size`, { hint: '512 or 4096' });
}
