import type { Knex } from 'knex';
import type { Digest } from '../../core/ids.ts';
import type { ImageError } from '../../core/image.ts';
import { setImageError } from '../db/images.ts';
import { listKnownImages } from '../db/replicas.ts';

/** What a run that failed means for one image whose content it was to bring. */
export function missedBy(error: ImageError): ImageError {
  return { ...error, message: `its content did not arrive: ${error.message}` };
}

/** Content that nobody whom we asked had to give. */
export function notToBeHad(): ImageError {
  return {
    code: 'not_found',
    message: 'the parent knows this image and does not hold its content',
    hint: 'it comes with a later run when the parent holds it: see its "sync scope"',
  };
}

/** Writes down at the images that are known here what kept their content from coming. Images new in the run have no row yet. */
export async function noteFailure(trx: Knex.Transaction, wanted: readonly Digest[], error: ImageError): Promise<void> {
  const missed = (await listKnownImages(trx)).filter(({ manifest }) => wanted.includes(manifest));
  for (const { id } of missed) await setImageError(trx, id, missedBy(error));
}
