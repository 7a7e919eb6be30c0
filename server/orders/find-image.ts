import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import { type Digest, type Id, printable } from '../../core/ids.ts';
import type { ImageBody } from '../../core/image.ts';
import type { DeployParams } from '../db/jobs.ts';

/** An image resolved for deployment: its identity and what the machine must know of it. */
export type DeployImage = {
  readonly id: Id;
  readonly reference: string;
  readonly manifest: Digest;
  readonly params: Omit<DeployParams, 'disk'>;
};

/**
 * Resolves `NAME[@VERSION]` among the published images, by default to the newest.
 * Errors: `not_found`; `bad_data` when it is not a disk image.
 */
export async function findDeployImage(db: Knex, reference: string): Promise<DeployImage> {
  const [name = '', version] = splitReference(reference);
  const query = db('images').join('objects', 'objects.id', 'images.id').where({ 'images.name': name, 'images.state': 'published' });
  if (version !== undefined) query.where('images.version', version);
  const row = await query
    .orderBy('images.created_at', 'desc')
    .orderBy('images.id', 'desc')
    .first<{ id: Id; body: string } | undefined>('images.id', 'objects.body');
  if (row === undefined) {
    throw new AppError('not_found', `there is no published image "${printable(reference)}"`, { hint: 'see "image list"' });
  }
  return deployImageOf(row.id, JSON.parse(row.body) as ImageBody);
}

function splitReference(reference: string): [string, string | undefined] {
  const at = reference.indexOf('@');
  return at < 0 ? [reference, undefined] : [reference.slice(0, at), reference.slice(at + 1)];
}

function deployImageOf(id: Id, body: ImageBody): DeployImage {
  const reference = `${body.name}@${body.version}`;
  if (body.kind !== 'disk' || body.disk === undefined) {
    throw new AppError('bad_data', `image ${reference} is a ${body.kind} image; only disk images can be deployed`, {
      hint: 'choose an image whose kind is "disk" in "image list"',
    });
  }
  const { sizeBytes, sectorSize, bootType } = body.disk;
  return { id, reference, manifest: body.manifest, params: { imageName: reference, arch: body.arch, sizeBytes, sectorSize, bootType } };
}
