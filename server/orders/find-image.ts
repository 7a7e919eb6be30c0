import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import type { Digest, Id } from '../../core/ids.ts';
import type { Image } from '../../core/image.ts';
import type { DeployParams } from '../db/jobs.ts';
import { resolveKnownImage, resolveVisibleImage } from '../images/reference.ts';

/** An image resolved for deployment: its identity and what the machine must know of it. */
export type DeployImage = {
  readonly id: Id;
  readonly reference: string;
  readonly manifest: Digest;
  readonly params: Omit<DeployParams, 'disk'>;
};

/**
 * The published image that `NAME[@VERSION]` stands for, by default the one that is active here.
 * Errors: those of `resolveVisibleImage`; `bad_data` when it is not a disk image.
 */
export async function findDeployImage(db: Knex, text: string): Promise<DeployImage> {
  return deployImage(await resolveVisibleImage(db, text));
}

/** As `findDeployImage`, for an order that another server carries out: its content need not be here. */
export async function findImageToSend(db: Knex, text: string): Promise<DeployImage> {
  return deployImage(await resolveKnownImage(db, text));
}

function deployImage({ id, name, version, kind, arch, manifest, disk }: Image): DeployImage {
  const reference = `${name}@${version}`;
  if (kind !== 'disk' || disk === undefined) {
    throw new AppError('bad_data', `image ${reference} is a ${kind} image; only disk images can be deployed`, {
      hint: 'choose an image whose kind is "disk" in "image list"',
    });
  }
  const { sizeBytes, sectorSize, bootType } = disk;
  return { id, reference, manifest, params: { imageName: reference, arch, sizeBytes, sectorSize, bootType } };
}
