import { Readable, Transform } from 'node:stream';
import type { Digest } from '../../core/ids.ts';
import { isPublishedEngine } from '../db/engines.ts';
import type { Site } from '../site.ts';

const ENGINE_FILES = /^(vmlinuz|initrd|undionly\.kpxe|snponly\.efi)$/;

export type EngineFile = { readonly sizeBytes: number; readonly stream: Readable };

/** One boot file of a published engine, every chunk checked on its way; undefined for anything else. */
export async function openEngineFile(
  site: Pick<Site, 'db' | 'store'>,
  arch: string,
  hex: string,
  name: string,
): Promise<EngineFile | undefined> {
  if (!/^(amd64|arm64)$/.test(arch) || !/^[0-9a-f]{64}$/.test(hex) || !ENGINE_FILES.test(name)) return undefined;
  const manifest = `sha256:${hex}` as Digest;
  if (!(await isPublishedEngine(site.db, manifest))) return undefined;
  const file = await site.store.openFile(manifest, `boot/${arch}/${name}`);
  if (file === undefined) return undefined;
  return { sizeBytes: file.sizeBytes, stream: Readable.fromWeb(file.stream as Parameters<typeof Readable.fromWeb>[0]) };
}

export type ByteRange = { readonly first: number; readonly last: number };

/**
 * Reads a Range header. `whole` for none, for several ranges and for units that are not bytes (all may be ignored),
 * `unsatisfiable` when it starts behind the end. Source: RFC 9110 §14.
 */
export function parseRange(header: string | undefined, sizeBytes: number): ByteRange | 'whole' | 'unsatisfiable' {
  const [, from = '', to = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
  if (from === '' && to === '') return 'whole';
  if (from === '') return Number(to) === 0 ? 'unsatisfiable' : { first: Math.max(0, sizeBytes - Number(to)), last: sizeBytes - 1 };
  const first = Number(from);
  const last = to === '' ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1);
  if (to !== '' && Number(to) < first) return 'whole';
  return first >= sizeBytes ? 'unsatisfiable' : { first, last };
}

/** Lets only the octets of the range through; the rest is read (and so checked) and dropped. */
export function sliceStream({ first, last }: ByteRange): Transform {
  let at = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const piece = chunk.subarray(Math.max(0, first - at), Math.max(0, last + 1 - at));
      at += chunk.length;
      done(null, piece.length > 0 ? piece : undefined);
    },
  });
}
