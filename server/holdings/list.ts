import type { Digest } from '../../core/ids.ts';
import { isRunEnded } from '../../core/run.ts';
import { isInScope } from '../../core/scope.ts';
import { parseImageBody } from '../../sync/replicate/image-body.ts';
import { parsePlan, type RunPlan } from '../../sync/replicate/plan.ts';
import { listImageChoices } from '../db/image-choices.ts';
import { listImages, listKeptDeletions } from '../db/images.ts';
import { type Link, listLinks } from '../db/links.ts';
import { getPlan, listRuns, type RunHead, WHOLE_PLANS } from '../db/runs.ts';
import type { Site } from '../site.ts';
import { type HoldingFacts, type HoldingView, viewHoldings } from './view.ts';

/**
 * What this site holds, wants and lacks, image by image. Without `isMeasured` nothing is asked of the store: what is
 * missing is then an upper bound.
 */
export async function listHoldings(
  site: Pick<Site, 'db' | 'self' | 'store'>,
  { isMeasured }: { isMeasured: boolean },
): Promise<HoldingView[]> {
  const [link] = await listLinks(site.db);
  const facts: Omit<HoldingFacts, 'missing'> = {
    selfId: site.self.id,
    images: [...(await listImages(site.db)), ...(await listKeptDeletions(site.db))],
    choices: await listImageChoices(site.db),
    scope: link?.scope ?? {},
    ring: link?.ring ?? null,
    ...(await findArriving(site, link)),
  };
  return viewHoldings({ ...facts, missing: isMeasured ? await measure(site, facts) : new Map() });
}

/** New images of the newest run that has not published, and what ended it. */
async function findArriving(site: Pick<Site, 'db'>, link: Link | undefined): Promise<Pick<HoldingFacts, 'arriving' | 'runError'>> {
  const runs = link === undefined ? [] : await listRuns(site.db, { linkId: link.id, limit: WHOLE_PLANS });
  const since = runs.findIndex(({ state }) => state === 'done');
  const open = since < 0 ? runs : runs.slice(0, since);
  const plan = await findPlan(site, open);
  const objects = (plan?.catalogue?.objects ?? []).filter(({ kind, body }) => kind === 'image' && body !== null);
  const arriving = objects.map((object) => {
    const body = parseImageBody(object);
    return { id: object.id, body, isLacking: plan?.want.includes(body.manifest) ?? false };
  });
  const [newest] = open;
  return { arriving, runError: newest !== undefined && isRunEnded(newest.state) ? newest.error : null };
}

/** A run that failed before it had a plan says less than the one before it. */
async function findPlan(site: Pick<Site, 'db'>, runs: readonly RunHead[]): Promise<RunPlan | undefined> {
  for (const { id } of runs) {
    const plan = parsePlan(await getPlan(site.db, id));
    if (plan?.catalogue) return plan;
  }
  return undefined;
}

/** How much is missing of what is wanted and not held: one question for each such image. */
async function measure(site: Pick<Site, 'store'>, facts: Omit<HoldingFacts, 'missing'>): Promise<Map<Digest, number>> {
  const known = facts.images.filter(({ state }) => state !== 'published' && state !== 'deleted');
  const candidates = [...facts.arriving.map(({ body }) => body), ...known].filter((body) => isInScope(facts.scope, body));
  const missing = new Map<Digest, number>();
  for (const { manifest } of candidates) {
    const { complete, rawBytes, chunks } = await site.store.missingOf([manifest]);
    if (complete.length > 0) missing.set(manifest, 0);
    // With the table of contents itself missing nothing can be counted: the caller's upper bound stands.
    else if (chunks > 1 || rawBytes > 0) missing.set(manifest, rawBytes);
  }
  return missing;
}
