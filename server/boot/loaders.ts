import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { authorise } from '../../core/authorise.ts';
import type { Digest } from '../../core/ids.ts';
import type { Arch } from '../../core/image.ts';
import { findNewestEngine } from '../db/engines.ts';
import type { Site } from '../site.ts';
import type { TftpFiles } from '../tftp/listener.ts';

/** What firmware may ask for, by architecture. Nothing else is ever opened. */
const LOADERS: Readonly<Record<Arch, readonly string[]>> = { amd64: ['undionly.kpxe', 'snponly.efi'], arm64: ['snponly.efi'] };

/** Debian's package `ipxe`; the amd64 files lie at the top. Used while this server holds no engine. */
const DEBIAN_LOADERS = '/usr/lib/ipxe';
const MAX_LOADER_BYTES = 8 << 20;
const ENGINE_AGE_MS = 2_000;

export type LoaderName = { readonly arch: Arch; readonly file: string };

/** `boot/<arch>/<file>` for a loader that there can be, with or without a slash before it; undefined for everything else. */
export function parseLoaderName(name: string): LoaderName | undefined {
  const [, arch, file] = /^\/?boot\/(amd64|arm64)\/([a-z.]+)$/.exec(name) ?? [];
  if (arch === undefined || file === undefined || !LOADERS[arch as Arch].includes(file)) return undefined;
  return { arch: arch as Arch, file };
}

type Source = Pick<Site, 'db' | 'store'>;

/**
 * The TFTP tree: loaders of the newest published engine, else Debian's. Contents stay in memory (three files of
 * under 1 MB for each engine in use), so that a storm of requests reads them once.
 */
export function loaderFiles(site: Source, clock: () => number = () => performance.now()): TftpFiles {
  const engines = new Map<Arch, { readonly atMs: number; readonly manifest: Promise<Digest | undefined> }>();
  const contents = new Map<string, Promise<Uint8Array | undefined>>();

  const currentEngine = (arch: Arch): Promise<Digest | undefined> => {
    const known = engines.get(arch);
    if (known !== undefined && clock() - known.atMs < ENGINE_AGE_MS) return known.manifest;
    const manifest = findNewestEngine(site.db, arch).then((engine) => engine?.manifest);
    engines.set(arch, { atMs: clock(), manifest });
    return manifest;
  };
  const cached = (key: string, load: () => Promise<Uint8Array | undefined>): Promise<Uint8Array | undefined> => {
    const known = contents.get(key);
    if (known !== undefined) return known;
    const content = load();
    contents.set(key, content);
    // A failure or a miss is not kept: the next request looks again.
    content.then((bytes) => bytes ?? contents.delete(key)).catch(() => contents.delete(key));
    return content;
  };
  return {
    read: async (name) => {
      const loader = parseLoaderName(name);
      // TFTP has no identities: whoever asks is nobody.
      if (loader === undefined || !authorise({ kind: 'anonymous' }, 'boot.read')) return undefined;
      const manifest = await currentEngine(loader.arch);
      const path = `boot/${loader.arch}/${loader.file}`;
      const own = manifest && (await cached(`${manifest} ${path}`, () => readFromStore(site, manifest, path)));
      return own || cached(path, () => readFromDebian(loader));
    },
  };
}

async function readFromStore(site: Source, manifest: Digest, path: string): Promise<Uint8Array | undefined> {
  const file = await site.store.openFile(manifest, path);
  if (file === undefined || file.sizeBytes > MAX_LOADER_BYTES) return undefined;
  return new Uint8Array(await new Response(file.stream).arrayBuffer());
}

async function readFromDebian(loader: LoaderName): Promise<Uint8Array | undefined> {
  if (loader.arch !== 'amd64') return undefined;
  try {
    return await readFile(join(DEBIAN_LOADERS, loader.file));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
