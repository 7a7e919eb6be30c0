import type { Knex } from 'knex';
import type { Digest } from '../../core/ids.ts';
import type { Arch } from '../../core/image.ts';
import { defaultVersion } from '../../core/version-choice.ts';
import { listImageChoices } from './image-choices.ts';

export type Engine = { readonly manifest: Digest; readonly name: string; readonly version: string; readonly arch: Arch };

/** The newest engine for an architecture among the default versions of their names, or undefined when this server has none to show. */
export async function findNewestEngine(db: Knex, arch: Arch): Promise<Engine | undefined> {
  const rows = await db('images').where({ kind: 'engine', arch, state: 'published' });
  const held = rows.map((row) => ({
    ...row,
    waiting: Boolean(row.waiting),
    activation: Number(row.activation),
    createdAt: Number(row.created_at),
  }));
  const choices = await listImageChoices(db);
  const defaults = [...new Set(held.map(({ name }) => name))].flatMap((name) => {
    const versions = held.filter((row) => row.name === name);
    // A choice of an engine for another architecture says nothing about this one.
    const choice = choices.find((one) => one.name === name && versions.some(({ id }) => id === one.imageId));
    return defaultVersion(versions, choice) ?? [];
  });
  const [newest] = defaults.sort((a, b) => b.createdAt - a.createdAt || (a.id > b.id ? -1 : 1));
  return newest && { manifest: newest.manifest, name: newest.name, version: newest.version, arch: newest.arch };
}

/** Whether the manifest is that of a published engine: the only images whose files the plain port gives to anybody. */
export async function isPublishedEngine(db: Knex, manifest: Digest): Promise<boolean> {
  return (await db('images').where({ kind: 'engine', state: 'published', manifest }).first('id')) !== undefined;
}
