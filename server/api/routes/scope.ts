import { z } from 'zod';
import type { Image } from '../../../core/image.ts';
import { updateLinkAfterParent } from '../../db/links.ts';
import { planScope, type ScopePlan, setScope } from '../../holdings/scope.ts';
import { LINKS } from '../../replication/follow-parent.ts';
import { onlyLink } from '../../replication.ts';
import { SCHEDULES } from '../../schedule/topic.ts';
import { actorOf } from '../actor.ts';
import { type Route, route } from '../route.ts';

const list = <Item extends z.ZodType>(item: Item) => z.array(item).min(1).max(1000).optional();
const Scope = z.strictObject({
  kinds: list(z.enum(['disk', 'tree', 'engine'])),
  names: list(z.string().max(63)),
  groups: list(z.string().max(63)),
  maxSizeBytes: z.number().int().nonnegative().optional(),
});
const ScopeInput = z.strictObject({ scope: Scope, dryRun: z.boolean().default(false) });

/** What of the parent's our link fetches, and whether it follows the parent. */
export const SCOPE_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/links/scope',
    listener: 'api',
    action: 'link.read',
    summary: 'Of which images the content is fetched; an absent member does not narrow.',
    handle: async ({ site }) => ({ scope: (await onlyLink(site)).scope }),
  }),
  route({
    method: 'PUT',
    path: '/api/v1/links/scope',
    listener: 'api',
    action: 'link.write',
    summary: 'Sets of which images the content is fetched, and says what that gives up; dryRun only says it.',
    input: ScopeInput,
    handle: async ({ site, identity }, { scope, dryRun }) => {
      const link = await onlyLink(site);
      const plan = dryRun ? await planScope(site.db, site.self, scope) : await setScope(site, { link, scope, actor: actorOf(identity) });
      return { scope, dryRun, ...viewPlan(plan) };
    },
  }),
  route({
    method: 'PUT',
    path: '/api/v1/links/after-parent',
    listener: 'api',
    action: 'link.write',
    summary: 'Whether a run starts when the parent has published.',
    input: z.strictObject({ afterParent: z.boolean() }),
    handle: async ({ site }, { afterParent }) => {
      await updateLinkAfterParent(site.db, (await onlyLink(site)).id, afterParent);
      for (const topic of [LINKS, SCHEDULES]) site.wake.notify(topic);
      return { afterParent };
    },
  }),
];

function viewPlan({ released, fetched }: ScopePlan) {
  const show = ({ name, version, usedBytes, storedBytes }: Image) => ({ image: `${name}@${version}`, usedBytes, storedBytes });
  return { released: released.map(show), fetched: fetched.map(show) };
}
