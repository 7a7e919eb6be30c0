import { z } from 'zod';
import { type ErrorCode, EXIT_CODES } from '../../core/errors.ts';
import { getSetting, setSetting } from '../db/settings.ts';
import type { Site } from '../site.ts';
import type { Healing } from './heal.ts';
import { countLost, referenceOf } from './lost.ts';

/** What is missing of published images, as the last repair left it. */
export type Health = {
  readonly chunks: number;
  readonly images: readonly string[];
  readonly words: Healing['words'];
};

const code = z.enum(Object.keys(EXIT_CODES) as [ErrorCode, ...ErrorCode[]]);
const Kept = z.object({
  chunks: z.number(),
  images: z.array(z.string()),
  words: z.object({ code, message: z.string(), hint: z.string().optional() }).nullable(),
});

const WELL: Health = { chunks: 0, images: [], words: null };

export async function getHealth(site: Site): Promise<Health> {
  const kept = Kept.safeParse(JSON.parse((await getSetting(site.db, keyOf(site))) ?? 'null'));
  return kept.success ? (kept.data as Health) : WELL;
}

/** Keeps how a repair ended, for whoever asks until the next one. */
export async function keepHealth(site: Site, { hurt, words }: Pick<Healing, 'hurt' | 'words'>): Promise<void> {
  const health: Health = { chunks: countLost(hurt), images: hurt.map(({ image }) => referenceOf(image)), words };
  const text = JSON.stringify(health);
  if ((await getSetting(site.db, keyOf(site))) !== text) await setSetting(site.db, keyOf(site), text);
}

/** A shared database has the settings of many servers. */
function keyOf(site: Site): string {
  return `care.lost.${site.self.id}`;
}
