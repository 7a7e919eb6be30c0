import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { OnProgress } from '../../core/content-store.ts';
import type { Digest } from '../../core/ids.ts';
import { writeAll } from '../../sync/content/durable.ts';
import { type OpenedBackup, readMember } from './open-file.ts';

/** Writes a member into a file of its own (0600), durable before it resolves. Throws `bad_data` for a damaged one. */
export async function extractMember(
  opened: OpenedBackup,
  { name, path }: { readonly name: string; readonly path: string },
  onBytes: (bytes: number) => void,
): Promise<void> {
  const member = opened.members.find((one) => one.name === name);
  if (member === undefined) throw new Error(`the backup has no ${name}`);
  const file = await open(path, 'wx', 0o600);
  try {
    let at = 0;
    for await (const slice of readMember(opened, member)) {
      await writeAll(file, slice, at);
      at += slice.length;
      onBytes(slice.length);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Writes the packs of a backup where a content store that opens there takes them in. */
export async function extractPacks(opened: OpenedBackup, packs: string, onBytes: (bytes: number) => void): Promise<void> {
  for (const { name } of opened.members.filter((member) => member.name.startsWith('packs/'))) {
    await extractMember(opened, { name, path: join(packs, `${name.slice('packs/'.length)}.pack`) }, onBytes);
  }
}

type Checking = { check(options: { quarantine: boolean }, onProgress?: OnProgress): Promise<unknown>; missingOf: MissingOf };
type MissingOf = (manifests: readonly Digest[]) => Promise<{ readonly complete: readonly Digest[] }>;

/**
 * Which of these manifests are whole in a store, after each octet in it was read and each chunk hashed: what is damaged was
 * put aside and does not count.
 */
export async function findWhole(store: Checking, manifests: readonly Digest[], onProgress: OnProgress): Promise<ReadonlySet<Digest>> {
  await store.check({ quarantine: true }, onProgress);
  return new Set((await store.missingOf(manifests)).complete);
}
