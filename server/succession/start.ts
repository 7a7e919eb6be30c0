import { keepTrying } from '../control/keep-trying.ts';
import type { Site } from '../site.ts';
import { adoptPending } from './adopt.ts';
import { SUCCESSION } from './believe.ts';
import { callBack } from './call-back.ts';
import { DEPUTY, tellDeputy } from './deputy.ts';
import { readFence } from './fence.ts';
import { followDeputy } from './follow-deputy.ts';

const LOOK = { topic: DEPUTY, everyMs: 5_000 };

/** What a running server does about places that are taken: tells its deputy, follows its parent's, calls whose place it took, signs anew. */
export function startSuccession(site: Site): { readonly close: () => Promise<void> } {
  const stopping = new AbortController();
  const { signal } = stopping;
  const keep = (what: string, work: () => Promise<void>, { topic, everyMs } = LOOK) =>
    keepTrying(site, { what, signal }, async () => {
      const woken = site.wake.wait(topic, everyMs, signal);
      await work();
      await woken;
    });
  const running = Promise.all([
    keep('our children, to our deputy', () => tellUnfenced(site)),
    keep('the deputy of our parent', () => followDeputy(site, signal)),
    keep('the server whose place this one took', () => callBack(site, signal)),
    keep('the objects of the server before', () => adoptPending(site), { topic: SUCCESSION, everyMs: 2_000 }),
  ]);
  return {
    close: async () => {
      stopping.abort();
      await running;
    },
  };
}

async function tellUnfenced(site: Site): Promise<void> {
  if ((await readFence(site.db)) === undefined) await tellDeputy(site);
}
