import type { OnProgress } from '../../core/content-store.ts';
import { type NeededImage, needed } from './needed.ts';
import { type OpenedBackup, openBackup, verifyMembers } from './open-file.ts';

/** What a backup holds, in the words of `server backup list --json`. */
export type InspectedBackup = Omit<OpenedBackup, 'members'> & {
  readonly members: readonly { readonly name: string; readonly bytes: number; readonly rows: number | null }[];
  /** Images whose content was whole at the server: with content `reference` a restored server fetches them again. */
  readonly images: readonly NeededImage[];
  /** Whether all of it was read and is what its manifest says. */
  readonly verified: boolean;
};

/** Errors: those of `openBackup`; `bad_data` for a damaged member with `isVerified`. */
export async function inspectBackup(
  path: string,
  { isVerified, report }: { readonly isVerified: boolean; readonly report: OnProgress },
): Promise<InspectedBackup> {
  const opened = await openBackup(path);
  let done = 0;
  if (isVerified)
    await verifyMembers(opened, (bytes) => {
      done += bytes;
      report(done, opened.sizeBytes);
    });
  const members = opened.members.map(({ name, bytes, rows }) => ({ name, bytes, rows: rows ?? null }));
  return { ...opened, members, images: await needed(opened), verified: isVerified };
}
