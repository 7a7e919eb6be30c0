import type { OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import { Catalogue } from '../../core/sync-protocol.ts';
import { checkParts, openArchiveFile } from './open-file.ts';

/** What a file declares, in the words of `archive inspect --json`. No signature was checked: that takes a server that knows its maker. */
export type InspectedArchive = {
  readonly server: string;
  readonly epoch: number;
  readonly generation: number;
  readonly since: number;
  readonly expiresAt: string;
  readonly sizeBytes: number;
  readonly objects: number;
  readonly images: readonly { readonly name: string; readonly version: string; readonly kind: string; readonly isBrought: boolean }[];
  readonly have: readonly string[];
  readonly want: readonly string[];
  readonly parts: readonly { readonly name: string; readonly sizeBytes: number }[];
  /** Whether all parts were read and are what their names say. */
  readonly verified: boolean;
};

/** Errors: those of `openArchiveFile`; `bad_data` for a catalogue that is none, and for a damaged part with `isVerified`. */
export async function inspectArchive(path: string, options: { isVerified: boolean; report: OnProgress }): Promise<InspectedArchive> {
  const opened = await openArchiveFile(path);
  const catalogue = Catalogue.safeParse(opened.catalogue);
  if (!catalogue.success) throw new AppError('bad_data', `the catalogue in ${path} is none`, { hint: 'make the file again' });
  if (options.isVerified) {
    const total = opened.parts.reduce((sum, part) => sum + part.sizeBytes, 0);
    let done = 0;
    await checkParts(opened, (bytes) => {
      done += bytes;
      options.report(done, total);
    });
  }
  const { head, objects } = catalogue.data;
  const { have, want } = opened.archive;
  const images = objects.flatMap(({ kind, body }) => {
    if (kind !== 'image' || body === null) return [];
    const { name, version, kind: of, manifest } = body as Record<string, unknown>;
    return [{ name: String(name), version: String(version), kind: String(of), isBrought: (want as readonly unknown[]).includes(manifest) }];
  });
  return {
    server: head.serverId,
    ...{ epoch: head.epoch, generation: head.generation, since: head.since, expiresAt: new Date(head.expiresAt).toISOString() },
    ...{ sizeBytes: opened.sizeBytes, objects: objects.length, images, have, want },
    parts: opened.parts.map(({ name, sizeBytes }) => ({ name, sizeBytes })),
    verified: options.isVerified,
  };
}
