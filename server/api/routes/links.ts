import { z } from 'zod';
import { AppError } from '../../../core/errors.ts';
import { type Id, isId, printable } from '../../../core/ids.ts';
import { isRunEnded } from '../../../core/run.ts';
import { type Link, listLinks } from '../../db/links.ts';
import { getRun, listRuns, type Run } from '../../db/runs.ts';
import { getServer } from '../../db/servers.ts';
import { type LinkView, type RunView, viewLink, viewRun } from '../../replication/view.ts';
import { onlyLink, requestRun } from '../../replication.ts';
import { setSchedule } from '../../schedule.ts';
import type { Site } from '../../site.ts';
import { type Route, type RouteContext, route } from '../route.ts';

const FOLLOW_MS = 25_000;

const ListInput = z.object({ before: z.string().max(36).optional(), limit: z.coerce.number().int().min(1).max(1000).default(50) });
const ScheduleInput = z.strictObject({
  schedule: z.string().min(1).max(128).nullable(),
  timezone: z.string().min(1).max(64).optional(),
});

/** Our own relation to our parent: when we run, what ran, and run now. */
export const LINK_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/links',
    listener: 'api',
    action: 'link.read',
    summary: 'Links to parents, with schedule and the generation held.',
    handle: async ({ site }) => ({ items: await Promise.all((await listLinks(site.db)).map((link) => showLink(site, link))), next: null }),
  }),
  route({
    method: 'PUT',
    path: '/api/v1/links/schedule',
    listener: 'api',
    action: 'link.write',
    summary: "Sets or ends (null) the link's schedule.",
    input: ScheduleInput,
    handle: async ({ site }, { schedule, timezone }) => {
      const link = await onlyLink(site);
      return showLink(site, await setSchedule(site, link, schedule === null ? null : { schedule, timezone: timezone ?? link.timezone }));
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/runs',
    listener: 'api',
    action: 'link.read',
    summary: 'Replication runs, newest first.',
    input: ListInput,
    handle: async ({ site }, { before, limit }) => {
      const runs = await listRuns(site.db, { limit: limit + 1, ...(before !== undefined && isId(before) ? { before } : {}) });
      const items = runs.slice(0, limit);
      return { items: items.map(viewRun), next: runs.length > limit ? (items.at(-1)?.id ?? null) : null };
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/runs',
    listener: 'api',
    action: 'link.write',
    summary: 'Starts a replication run.',
    input: z.strictObject({}),
    handle: async ({ site }) => viewRun(await findRun(site, await requestRun(site, { trigger: 'command' }))),
  }),
  route({
    method: 'GET',
    path: '/api/v1/runs/:id',
    listener: 'api',
    action: 'link.read',
    summary: 'One run; with follow, when something of it has changed or after 25 s.',
    input: z.object({ follow: z.coerce.boolean().optional() }),
    handle: (context, { follow }) => showRun(context, follow ?? false),
  }),
];

async function showRun({ site, params, signal }: RouteContext, isFollowed: boolean): Promise<RunView> {
  const changed = site.wake.wait('runs', isFollowed ? FOLLOW_MS : 0, signal);
  const run = await findRun(site, params['id'] ?? '');
  if (!isFollowed || isRunEnded(run.state)) return viewRun(run);
  await changed;
  return viewRun(await findRun(site, run.id));
}

async function findRun(site: Site, id: string): Promise<Run> {
  const run = await getRun(site.db, id as Id);
  if (run !== undefined) return run;
  throw new AppError('not_found', `there is no run ${printable(id)}`, { hint: 'waystation sync history' });
}

async function showLink(site: Site, link: Link): Promise<LinkView> {
  return viewLink(link, (await getServer(site.db, link.parentId))?.name ?? link.parentId);
}
