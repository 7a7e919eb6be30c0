import type { Knex } from 'knex';
import type { Imported } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import type { Name } from '../../core/ids.ts';
import type { Arch, Image, ImageBody } from '../../core/image.ts';
import { publishObject } from '../catalogue.ts';
import { appendEvent } from '../db/events.ts';
import { getImage, insertImage, listVersions } from '../db/images.ts';
import { inTransaction, isUniqueViolation } from '../db/open.ts';
import { admitImage, IMAGES } from '../holdings/activation.ts';
import { CATALOGUE } from '../replication/wait-for-news.ts';
import type { Site } from '../site.ts';
import { listLostVersions } from './lost-versions.ts';
import { nextVersion } from './reference.ts';

export type PublishSite = Pick<Site, 'db' | 'self' | 'keys' | 'now' | 'wake'>;

export type Publication = {
  readonly imported: Imported;
  readonly name: Name;
  /** Without one: the next whole number of the name. */
  readonly version?: string | undefined;
  readonly arch: Arch;
  /** A label that scopes name. */
  readonly group?: Name | undefined;
  /** Epoch ms before which no site shows it. */
  readonly activateAt?: number | undefined;
  /** Sites of this ring and lower ones first; the rest when it is released (server/images/release.ts). */
  readonly ring?: number | undefined;
  /** For the event log: `operator:<id>`, `local-admin`, `system`. */
  readonly actor: string;
};

/**
 * Makes content that is in the store an image of ours: signed object, row and event in one transaction, so that
 * children see all of it or nothing. Throws `name_taken` when NAME@VERSION was ever given here.
 */
export async function publishImage(site: PublishSite, publication: Publication): Promise<Image> {
  const image = await tryPublish(site, publication);
  site.wake.notify('events');
  site.wake.notify(IMAGES);
  site.wake.notify(CATALOGUE);
  return image;
}

async function tryPublish(site: PublishSite, publication: Publication): Promise<Image> {
  const givenBefore = publication.version === undefined ? await listLostVersions(site.db, publication.name) : [];
  for (let attempt = 1; ; attempt++) {
    try {
      return await inTransaction(site.db, (trx) => publishIn(site, trx, publication, givenBefore));
    } catch (error) {
      // Somebody else took the same version between our reading and our writing; a chosen one is gone, a counted one goes on.
      if (!isUniqueViolation(error) || attempt >= 10) throw error;
    }
  }
}

async function publishIn(
  site: PublishSite,
  trx: Knex.Transaction,
  publication: Publication,
  givenBefore: readonly string[],
): Promise<Image> {
  const { imported, name, arch, actor } = publication;
  const version = await chooseVersion(trx, name, publication.version, givenBefore);
  const now = site.now();
  const body: ImageBody = {
    kind: imported.kind,
    name,
    version,
    manifest: imported.manifest,
    arch,
    sizeBytes: imported.sizeBytes,
    usedBytes: imported.usedBytes,
    createdAt: now,
    ...plansOf(publication, now),
    ...(imported.disk ? { disk: imported.disk } : {}),
  };
  const { id, origin } = await publishObject(site, trx, { kind: 'image', body });
  await insertImage(trx, { id, origin, body, state: 'published', storedBytes: imported.storedBytes, publishedAt: now });
  await admitImage(site, trx, id, false);
  const data = { reference: `${name}@${version}`, manifest: imported.manifest, sizeBytes: imported.sizeBytes };
  await appendEvent(trx, { origin, at: now, actor, kind: 'image.published', subject: id, data });
  const image = await getImage(trx, id);
  if (!image) throw new Error(`image ${id} is not where it was just written`);
  return image;
}

function plansOf({ group, activateAt, ring }: Publication, now: number): Pick<ImageBody, 'group' | 'activateAt' | 'rings'> {
  return {
    ...(group === undefined ? {} : { group }),
    ...(activateAt === undefined ? {} : { activateAt }),
    ...(ring === undefined ? {} : { rings: [{ ring, at: now }] }),
  };
}

/** The version to give. Throws `name_taken` when the wanted one was given before. */
export async function chooseVersion(
  db: Knex,
  name: Name,
  wanted: string | undefined,
  givenBefore: readonly string[] = [],
): Promise<string> {
  const versions = await listVersions(db, name);
  if (wanted === undefined) return nextVersion([...versions, ...givenBefore]);
  if (!versions.includes(wanted)) return wanted;
  throw new AppError('name_taken', `image ${name}@${wanted} exists or existed: a version is given once`, {
    hint: `leave --version out to get ${nextVersion(versions)}, or choose another`,
  });
}
