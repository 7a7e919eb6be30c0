import { z } from 'zod';
import type { OnProgress } from '../../core/content-store.ts';
import { type Name, parseName } from '../../core/ids.ts';
import type { Image } from '../../core/image.ts';
import { listImages } from '../db/images.ts';
import { publishImage } from '../images/publish.ts';
import type { Site } from '../site.ts';

/** Boot files of a built engine on this machine, as they travel in a request. */
export const EngineImport = z.strictObject({
  /** Absolute path of the folder that holds `boot/<arch>/`. */
  path: z.string().min(1).max(4096),
  arch: z.enum(['amd64', 'arm64']),
  /** What `buildEngine` says of it: kernel, Node, packages with versions and hashes. */
  meta: z.record(z.string().max(64), z.string().max(256 * 1024)),
});
export type EngineImport = z.infer<typeof EngineImport>;

const ENGINE: Name = parseName('engine');

/**
 * Takes a built engine into the store and publishes it as the next version of `engine`. The same engine again is
 * no new version: the image that has it already is given. Errors: those of `ContentStore.importTree`.
 */
export async function importEngine(site: Site, request: EngineImport & { actor: string }, onProgress?: OnProgress): Promise<Image> {
  const { path, arch, meta, actor } = request;
  const imported = await site.store.importTree({ path, kind: 'engine', meta }, onProgress);
  const same = (await listImages(site.db)).find(
    (image) =>
      image.kind === 'engine' && image.manifest === imported.manifest && image.state === 'published' && image.origin === site.self.id,
  );
  return same ?? publishImage(site, { imported, name: ENGINE, arch, actor });
}
