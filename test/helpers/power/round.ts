import { setTimeout as sleep } from 'node:timers/promises';
import { waitUntil } from '../wait-until.ts';
import { MEDIA } from './branch.ts';
import { LONGEST_MS, Refused } from './branch-api.ts';
import { type BranchWork, importAt, keepOrdering, replicate } from './branch-work.ts';
import type { SitePair } from './site-pair.ts';

/** When the power goes: in a state of the run, in an import or right after it was acknowledged, among orders, or with nothing to do. */
export const MOMENTS = ['transfer', 'import', 'publish', 'order', 'verify', 'imported', 'archive', 'published', 'toc', 'idle'] as const;
export type Moment = (typeof MOMENTS)[number];

/** How long after a moment has begun the power goes, at most: about as long as it lasts in a machine that is emulated. */
const SPREAD_MS: Readonly<Record<Moment, number>> = {
  ...{ toc: 300, archive: 600, transfer: 2_000, verify: 600, publish: 50, published: 500 },
  ...{ import: 2_500, imported: 500, order: 3_000, idle: 1_000 },
};
/** So much is acknowledged in each round before the rest begins. */
const ACKNOWLEDGED_FIRST = 6;
const IMPORTS: readonly Moment[] = ['import', 'imported', 'idle'];
const RUNS: readonly Moment[] = ['toc', 'archive', 'transfer', 'verify', 'publish', 'published', 'idle'];
const RUN_STATES = ['none', 'waiting-parent', 'toc', 'diff', 'archive', 'transfer', 'verify', 'publish', 'done', 'partial', 'failed'];

export type Cut = { readonly stage: string; readonly lostSectors: number };

export type Wish = {
  readonly moment: Moment;
  /** A file at /media, and the image for the orders. */
  readonly file: string;
  readonly image: string;
  /** When exactly, and which sectors of the write cache survive. */
  readonly random: () => number;
};

/**
 * The branch makes orders, and replicates or imports besides, until the power goes at the moment that is wished for.
 * `stage` is what was met: a state of the run may be over between two looks.
 */
export async function workUntilCut(pair: SitePair, work: BranchWork, { moment, file, image, random }: Wish): Promise<Cut> {
  const [calm, cut] = [new AbortController(), new AbortController()];
  const untilCut = (task: Promise<unknown>) =>
    task.catch((error: unknown) => {
      const isAnswered = error instanceof Refused || !cut.signal.aborted;
      cut.abort();
      if (isAnswered) throw error;
    });
  const isThere = (what: string, look: () => boolean) =>
    waitUntil(what, async () => cut.signal.aborted || look(), { limitMs: LONGEST_MS, everyMs: 10, despiteErrors: true });
  const before = work.ledger.acknowledged;
  const ordering = untilCut(keepOrdering(work, image, AbortSignal.any([calm.signal, cut.signal])));
  await isThere('orders are made', () => work.ledger.acknowledged >= before + ACKNOWLEDGED_FIRST);

  let state = 'none';
  const onState = (seen: string) => {
    state = seen;
  };
  const importing = IMPORTS.includes(moment) ? untilCut(importAt(work, `${MEDIA}/${file}`, file)) : Promise.resolve();
  const running = RUNS.includes(moment) ? untilCut(replicate(work, onState)) : Promise.resolve();
  const all = Promise.all([ordering, importing, running]);
  if (moment === 'idle') calm.abort();
  if (moment === 'idle') await all;
  else if (moment === 'imported') await importing;
  else if (RUNS.includes(moment)) await isThere(`the run is in ${moment}`, () => hasReached(state, moment));

  await sleep(random() * SPREAD_MS[moment]);
  const stage = RUNS.includes(moment) && moment !== 'idle' ? state : moment;
  const share = random();
  cut.abort();
  const lostSectors = await pair.guest.cut(() => random() < share);
  await all;
  return { stage, lostSectors };
}

/** The run is in the state that the moment names, or past it. */
function hasReached(state: string, moment: Moment): boolean {
  const wanted = moment === 'published' ? 'done' : moment;
  return RUN_STATES.indexOf(state) >= RUN_STATES.indexOf(wanted);
}
