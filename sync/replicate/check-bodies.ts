import { parseRoot } from '../../core/content/manifest.ts';
import type { Envelope } from '../../core/envelope.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { parseImageBody } from './image-body.ts';
import type { RunTools } from './ports.ts';

/**
 * Compares what image objects say with the manifests that they name, as far as those are complete here: a machine is
 * chosen by the one and written from the other. Throws `mismatch`.
 */
export async function checkBodies(
  tools: Pick<RunTools, 'store'>,
  objects: readonly Envelope[],
  complete: readonly Digest[],
): Promise<void> {
  for (const object of objects.filter(({ kind, body }) => kind === 'image' && body !== null)) {
    const body = parseImageBody(object);
    if (!complete.includes(body.manifest)) continue;
    const root = parseRoot(await tools.store.readRoot(body.manifest));
    if (root.kind === body.kind && root.sizeBytes === body.sizeBytes) continue;
    const said = `${body.kind} of ${body.sizeBytes} bytes`;
    throw new AppError('mismatch', `image ${body.name}@${body.version} is a ${said}, its manifest says ${root.kind} of ${root.sizeBytes}`, {
      hint: 'nothing of it was taken; ask who made the image',
    });
  }
}
