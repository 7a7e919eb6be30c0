import type { CheckReport, Damage, OnProgress } from '../../core/content-store.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import type { Site } from '../site.ts';
import { type Healing, healStore } from './heal.ts';
import { keepHealth } from './health.ts';
import { findHurtImages, referenceOf } from './lost.ts';
import type { FetchChunks } from './repair-run.ts';
import { reportHealing, reportHurt } from './report.ts';

/** What one repair did. `damages` is what stays, empty when all is well again; `found` is what there was. */
export type RepairReport = CheckReport & {
  readonly found: readonly Damage[];
  /** Chunks that were fetched again. */
  readonly healed: number;
  /** Why something stays lost. */
  readonly words: Healing['words'];
};

/**
 * The one repair: everything is read, what is damaged is put aside and what can be saved of it stored anew, the index is
 * made again when it is wrong, missing chunks of published images are fetched, and everything is read once more.
 */
export async function repairStore(site: Site, fetchChunks: FetchChunks, onProgress: OnProgress): Promise<RepairReport> {
  const first = await site.store.check({ quarantine: true }, onProgress);
  const before = await findHurtImages(site);
  await reportHurt(site, before);
  const healing = await healStore(site, fetchChunks);
  await reportHealing(site, before, healing);
  await keepHealth(site, healing);
  const wasWell = first.damages.length === 0 && before.length === 0;
  const last = wasWell ? first : await site.store.check({}, onProgress);
  const damages = [...last.damages, ...lostDamages(healing)];
  const summary = { found: first.damages.length, healed: healing.healed, left: damages.length };
  if (!wasWell) await writeEvent(site, summary);
  return { ...last, damages, found: first.damages, healed: healing.healed, words: healing.words };
}

function lostDamages({ hurt }: Healing): Damage[] {
  return hurt.flatMap(({ image, digests }) =>
    digests.map((digest) => ({ what: 'chunk', where: `missing of ${referenceOf(image)}`, digest }) as const),
  );
}

async function writeEvent(site: Site, data: { found: number; healed: number; left: number }): Promise<void> {
  const event = { origin: site.self.id, at: site.now(), actor: 'system', kind: 'store.repaired', subject: site.self.id, data };
  await inTransaction(site.db, async (trx) => {
    await appendEvent(trx, event);
  });
  site.wake.notify('events');
}
