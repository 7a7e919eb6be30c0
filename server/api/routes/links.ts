import { z } from 'zod';
import { AppError } from '../../../core/errors.ts';
import { type Id, isId, printable } from '../../../core/ids.ts';
import { isRunEnded } from '../../../core/run.ts';
import { LATE_WAYS } from '../../../core/schedule/decide.ts';
import { refuseManaged } from '../../control/link-wish.ts';
import { type Link, listLinks } from '../../db/links.ts';
import { getRun, listRuns, type Run } from '../../db/runs.ts';
import { getServer } from '../../db/servers.ts';
import { askLacking } from '../../replication/lacking.ts';
import { type LinkView, type RunView, viewLink, viewRun } from '../../replication/view.ts';
import { onlyLink, requestRun } from '../../replication.ts';
import { forecastLink } from '../../schedule/forecast.ts';
import { pauseLink, resumeLink, setCaps, setSchedule } from '../../schedule.ts';
import type { Site } from '../../site.ts';
import { actorOf } from '../actor.ts';
import { type Route, type RouteContext, route } from '../route.ts';

const FOLLOW_MS = 25_000;

const ListInput = z.object({ before: z.string().max(36).optional(), limit: z.coerce.number().int().min(1).max(1000).default(50) });
const ScheduleInput = z.strictObject({
  schedule: z.string().min(1).max(128).nullable().optional(),
  timezone: z.string().min(1).max(64).optional(),
  mayStart: z.string().max(32).nullable().optional(),
  mustStop: z.string().max(32).nullable().optional(),
  late: z.enum(LATE_WAYS).optional(),
});
const mbit = z.number().positive().max(1_000_000).nullable();
const CapsInput = z
  .strictObject({ mbit, officeHours: z.string().max(64).nullable().optional(), officeMbit: mbit.optional() })
  .refine(({ officeHours, officeMbit }) => officeHours != null || officeMbit == null, 'officeMbit needs officeHours');

/** Our own relation to our parent: when we run, what ran, and run now. */
export const LINK_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/links',
    listener: 'api',
    action: 'link.read',
    summary: 'Links to parents, with schedule, windows, caps, pause and the generation held.',
    handle: async ({ site }) => ({ items: await Promise.all((await listLinks(site.db)).map((link) => showLink(site, link))), next: null }),
  }),
  route({
    method: 'PUT',
    path: '/api/v1/links/schedule',
    listener: 'api',
    action: 'link.write',
    summary: "Sets or ends (null) the link's schedule and its windows; what is left out stays.",
    input: ScheduleInput,
    handle: async ({ site }, wish) => {
      await refuseManaged(site, ['schedule', 'timezone', 'mayStart', 'mustStop', 'late']);
      return showLink(site, await setSchedule(site, await onlyLink(site), wish));
    },
  }),
  route({
    method: 'PUT',
    path: '/api/v1/links/caps',
    listener: 'api',
    action: 'link.write',
    summary:
      'Sets how many Mbit/s (10^6 bits) the link may carry, and another number inside office hours (left out: they stay); null for no cap.',
    input: CapsInput,
    handle: async ({ site }, { mbit, officeHours, officeMbit }) => {
      await refuseManaged(site, ['capMbit']);
      const link = await onlyLink(site);
      const office = officeHours == null ? officeHours : { hours: officeHours, bps: toBps(officeMbit ?? null) };
      return showLink(site, await setCaps(site, link, { bps: toBps(mbit), office: office === undefined ? link.caps.office : office }));
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/links/plan',
    listener: 'api',
    action: 'link.write',
    summary: 'Asks the parent what we lack, without fetching it: bytes, and when they will be here.',
    input: z.strictObject({}),
    handle: async ({ site }) => {
      const link = await onlyLink(site);
      await askLacking(site, link);
      return showLink(site, await onlyLink(site));
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/links/pause',
    listener: 'api',
    action: 'link.write',
    summary: 'Stops what runs, keeping what came, and starts nothing until it is resumed.',
    input: z.strictObject({}),
    handle: async ({ site, identity }) => showLink(site, await pauseLink(site, await onlyLink(site), actorOf(identity))),
  }),
  route({
    method: 'POST',
    path: '/api/v1/links/resume',
    listener: 'api',
    action: 'link.write',
    summary: 'Lets a paused link go on.',
    input: z.strictObject({}),
    handle: async ({ site, identity }) => showLink(site, await resumeLink(site, await onlyLink(site), actorOf(identity))),
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
    input: z.strictObject({ inWindow: z.boolean().default(false) }),
    handle: async ({ site }, { inWindow }) => viewRun(await findRun(site, await requestRun(site, { trigger: 'command', inWindow }))),
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
  const parentName = (await getServer(site.db, link.parentId))?.name ?? link.parentId;
  return viewLink(link, { parentName, now: site.now(), plan: await forecastLink(site, link) });
}

function toBps(mbit: number | null): number | null {
  return mbit === null ? null : Math.round(mbit * 1_000_000);
}
