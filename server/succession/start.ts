import { keepTrying } from '../control/keep-trying.ts';
import type { Site } from '../site.ts';
import { startAdoption } from './adopt.ts';
import { callBack } from './call-back.ts';
import { DEPUTY, tellDeputy } from './deputy.ts';
import { refuseReturning } from './fence.ts';
import { followDeputy } from './follow-deputy.ts';

const LOOK_EVERY_MS = 5_000;

/** What a running server does about places that are taken: tells its deputy, follows its parent's, calls whose place it took, signs anew. */
export function startSuccession(site: Site): { readonly close: () => Promise<void> } {
  const stopping = new AbortController();
  const { signal } = stopping;
  const adoption = startAdoption(site);
  const keep = (what: string, work: () => Promise<void>) =>
    keepTrying(site, { what, signal }, async () => {
      const woken = site.wake.wait(DEPUTY, LOOK_EVERY_MS, signal);
      await work();
      await woken;
    });
  const running = Promise.all([
    keep('our children, to our deputy', () => tellUnfenced(site)),
    keep('the deputy of our parent', () => followDeputy(site, signal)),
    keep('the server whose place this one took', () => callBack(site, signal)),
  ]);
  return {
    close: async () => {
      stopping.abort();
      await Promise.all([running, adoption.close()]);
    },
  };
}

async function tellUnfenced(site: Site): Promise<void> {
  const isSilent = await refuseReturning(site.db).then(
    () => false,
    () => true,
  );
  if (!isSilent) await tellDeputy(site);
}
