import type { Digest } from '../../core/ids.ts';
import { type BaseTools, basesFor } from './bases.ts';
import { checkBodies } from './check-bodies.ts';
import { requireRoom } from './free-space.ts';
import type { RunPlan } from './plan.ts';
import type { RunTools } from './ports.ts';
import type { Outcome } from './run.ts';

type DiffTools = Pick<RunTools, 'store' | 'freeBytes' | 'reserveBytes' | 'incoming'> & {
  readonly records: BaseTools['records'] & Pick<RunTools['records'], 'wantedManifests'>;
};

/** Works out which manifests that we want are not complete here, and on which of ours an archive may build. */
export async function findLacking(tools: DiffTools, plan: RunPlan): Promise<Outcome> {
  const objects = plan.catalogue?.objects ?? [];
  const wanted = await tools.records.wantedManifests(objects);
  const { complete } = await tools.store.missingOf(wanted, { areToStay: true });
  await checkBodies(tools, objects, complete);
  const lacking = wanted.filter((manifest) => !complete.includes(manifest));
  if (lacking.length === 0) return { event: 'complete', plan: { ...plan, wanted, want: lacking } };
  const { unfinished } = plan;
  // Some of it may be complete by now, and is asked for all the same: another archive would have other parts.
  const isGoingOn = unfinished.some((manifest) => lacking.includes(manifest)) && unfinished.every((manifest) => wanted.includes(manifest));
  const want = isGoingOn ? unfinished : lacking;
  await requireRoom(tools, 0);
  return {
    event: 'lacking',
    plan: {
      ...plan,
      wanted,
      want,
      have: union(await basesFor(tools, want, objects), isGoingOn ? complete.filter((manifest) => !want.includes(manifest)) : []),
    },
  };
}

/** With what an interrupted run completed and nobody has published: the archive that it was fetching builds on that. */
export function union(bases: readonly Digest[], complete: readonly Digest[]): readonly Digest[] {
  return [...new Set([...bases, ...complete])].sort();
}
