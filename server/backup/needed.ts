import { z } from 'zod';
import { badBackup } from '../../core/backup-file.ts';
import { readLines } from './lines.ts';
import type { OpenedBackup } from './open-file.ts';

/** An image whose content was whole at the server that was backed up: what a restored one needs. */
export const NeededImage = z.object({
  id: z.string(),
  reference: z.string(),
  origin: z.string(),
  manifest: z.string(),
  usedBytes: z.number(),
});
export type NeededImage = z.infer<typeof NeededImage>;

/** The list of images of a backup, by id. Throws `bad_data`. */
export async function needed(opened: OpenedBackup): Promise<readonly NeededImage[]> {
  const member = opened.members.find(({ name }) => name === 'images');
  if (member === undefined) throw badBackup('it does not say which images it needs');
  const images: NeededImage[] = [];
  for await (const line of readLines(opened, member)) {
    const parsed = NeededImage.safeParse(line);
    if (!parsed.success) throw badBackup('its list of images is not one that this program reads');
    images.push(parsed.data);
  }
  return images;
}
