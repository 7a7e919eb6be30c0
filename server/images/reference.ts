import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import { parseName, printable } from '../../core/ids.ts';
import type { Image, ImageReference } from '../../core/image.ts';
import { getImageChoice } from '../db/image-choices.ts';
import { findDefaultImage, findImageVersion } from '../db/images.ts';
import { listKnownImages } from '../db/replicas.ts';

/** What a version may look like: 1, 2, 3 … or free text that fits a reference and a file name. */
function isVersion(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}$/.test(text);
}

/** Throws `usage` for a text that is no version. */
export function parseVersion(text: string): string {
  if (isVersion(text)) return text;
  throw new AppError('usage', `"${printable(text)}" is not a version`, {
    hint: 'versions have 1 to 63 characters A-Z a-z 0-9 . _ + - and start with a letter or digit',
  });
}

/** Reads `NAME[@VERSION]`. Throws `usage`. */
export function parseImageReference(text: string): ImageReference {
  const at = text.indexOf('@');
  if (at < 0) return { name: parseName(text) };
  return { name: parseName(text.slice(0, at)), version: parseVersion(text.slice(at + 1)) };
}

/**
 * The image that `NAME[@VERSION]` stands for, all of it here; without a version the default of the name
 * (core/version-choice.ts). With one it may be a version that still waits for its activation.
 * Throws `not_found`, in words of its own for an image that is arriving, not held, or pinned and gone; `usage` for no reference.
 */
export async function resolveImage(db: Knex, reference: string): Promise<Image> {
  const { name, version } = parseImageReference(reference);
  const image = version === undefined ? await findDefaultImage(db, name) : await findImageVersion(db, name, version);
  if (image?.state === 'published') return image;
  if (image?.state === 'incoming') {
    throw new AppError('not_found', `image ${reference} is kept aside, since an image of that name is here already`, {
      hint: 'see "sync status"',
    });
  }
  if (image?.state === 'known') {
    throw new AppError('not_found', `image ${reference} is known here, its content is not held`, {
      hint: 'see "sync status"; "image pin" or a wider "sync scope" fetches it with the next run',
    });
  }
  if (version === undefined && (await getImageChoice(db, name))?.mode === 'pinned') {
    throw new AppError('not_found', `image ${name} is pinned to a version that its owner has deleted`, { hint: `"image unpin ${name}"` });
  }
  throw new AppError('not_found', `there is no published image "${printable(reference)}"`, { hint: 'see "image list"' });
}

/** The same for an order: a version that waits cannot be named either. Throws `waiting` for it, and what `resolveImage` throws. */
export async function resolveVisibleImage(db: Knex, reference: string): Promise<Image> {
  const image = await resolveImage(db, reference);
  if (!image.waiting) return image;
  throw new AppError('waiting', `image ${image.name}@${image.version} is held here and waits for its activation`, {
    hint: `see "sync status"; "image activate ${image.name}@${image.version} --now" does not wait`,
  });
}

/**
 * The same for an order that another server carries out: what is only known here will do, since the content is wanted there.
 * Without a version that is the newest when none is held here.
 */
export async function resolveKnownImage(db: Knex, reference: string): Promise<Image> {
  try {
    return await resolveVisibleImage(db, reference);
  } catch (error) {
    const { name, version } = parseImageReference(reference);
    const isOne = (image: Image) => image.name === name && (version === undefined || image.version === version);
    const [newest] = (await listKnownImages(db)).filter(isOne).sort((a, b) => b.createdAt - a.createdAt);
    if (newest !== undefined && error instanceof AppError && error.code === 'not_found') return newest;
    throw error;
  }
}

/** One more than the highest whole number among the versions of a name; 1 for a new name. */
export function nextVersion(versions: readonly string[]): string {
  const numbers = versions.filter((version) => /^[1-9][0-9]{0,14}$/.test(version)).map(Number);
  return String(Math.max(0, ...numbers) + 1);
}
