import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import { LATE_WAYS, type LateWay, type Obstacle } from '../../core/schedule/decide.ts';
import type { LinkView, PlanView } from '../../server/replication/view.ts';
import type { Client } from '../client.ts';
import type { Frame } from '../frame.ts';
import { details, formatBytes, formatSeconds } from '../output.ts';
import { megabits, oneOf } from '../parse.ts';
import { registerFollow } from './sync-follow.ts';

type TimesOptions = { timezone?: string; mayStart?: string; mustStop?: string; late?: LateWay };
type CapOptions = { officeHours?: string; officeMbit?: string };

/** What the branch decides about its link: when runs start and stop, how fast, and whether at all. */
export function registerLink(sync: Command, frame: Frame): void {
  const schedule = sync.command('schedule').description('when runs start by themselves, and when they must stop');
  schedule
    .command('show', { isDefault: true })
    .description('show the schedule')
    .action(async () => print(frame, await onlyLink(await frame.connect())));
  schedule
    .command('set [cron]')
    .description('minute hour day month weekday, as in "30 2 * * *"; what is left out stays as it is')
    .option('--timezone <tz>', "IANA name, Europe/Berlin (default: the link's, at first UTC)")
    .option('--may-start <window>', 'a run starts only then, as in 22:00-04:00; "off" for always')
    .option('--must-stop <time>', 'a run that is still going then stops and is gone on with by the next, as in 06:00; "off"')
    .option('--late <way>', 'a run that could not start when due follows as soon as it may (chain) or not (skip)', oneOf(...LATE_WAYS))
    .action((cron: string | undefined, options: TimesOptions) => setTimes(frame, cron, options));
  schedule
    .command('off')
    .description('only on command')
    .action(() => change(frame, (client) => client.put('/api/v1/links/schedule', { schedule: null })));
  registerFollow(schedule, frame);
  const cap = sync.command('cap').description('how many Mbit/s (10^6 bits) runs may take; kept by the parent');
  cap
    .command('show', { isDefault: true })
    .description('show the caps')
    .action(async () => print(frame, await onlyLink(await frame.connect())));
  cap
    .command('set <mbit>')
    .description('the cap, "off" for none; it holds for a transfer under way within seconds; office hours that are left out stay')
    .option('--office-hours <hours>', 'on the clock of the link\'s time zone, as in "mon-fri 08:00-18:00"; "off" for none')
    .option('--office-mbit <mbit>', 'the cap inside office hours, "off" for none')
    .action((value: string, options: CapOptions) => setCap(frame, value, options));
  cap
    .command('off')
    .description('no cap')
    .action(() => change(frame, (client) => client.put('/api/v1/links/caps', { mbit: null, officeHours: null })));
  sync
    .command('plan')
    .description('what the parent has that is not here, and when it will be: nothing is fetched')
    .action(() => plan(frame));
  sync
    .command('pause')
    .description('stop what runs, keeping what came; start nothing until "resume", restarts or not')
    .action(() => change(frame, (client) => client.post('/api/v1/links/pause')));
  sync
    .command('resume')
    .description('go on; a run that the pause ended is followed by one at once')
    .action(() => change(frame, (client) => client.post('/api/v1/links/resume')));
}

function setTimes(frame: Frame, cron: string | undefined, { mayStart, mustStop, ...options }: TimesOptions): Promise<void> {
  const windows = {
    ...(mayStart === undefined ? {} : { mayStart: orOff(mayStart) }),
    ...(mustStop === undefined ? {} : { mustStop: orOff(mustStop) }),
  };
  const wish = { ...(cron === undefined ? {} : { schedule: cron }), ...options, ...windows };
  if (Object.keys(wish).length === 0) {
    throw new AppError('usage', 'say what to set', { hint: 'a cron expression in quotes, as in "30 2 * * *", or options' });
  }
  return change(frame, (client) => client.put('/api/v1/links/schedule', wish));
}

function setCap(frame: Frame, value: string, { officeHours, officeMbit }: CapOptions): Promise<void> {
  if ((officeHours === undefined || officeHours === 'off') !== (officeMbit === undefined)) {
    throw new AppError('usage', 'office hours and the cap inside them belong together', { hint: 'give --office-hours and --office-mbit' });
  }
  const office = officeMbit === undefined ? {} : { officeMbit: megabits(officeMbit) };
  const hours = officeHours === undefined ? {} : { officeHours: orOff(officeHours) };
  return change(frame, (client) => client.put('/api/v1/links/caps', { mbit: megabits(value), ...hours, ...office }));
}

async function plan(frame: Frame): Promise<void> {
  const link = (await (await frame.connect()).post('/api/v1/links/plan')) as LinkView;
  frame.print((link.plan ?? null) as unknown as Json, () => planText(link.plan));
}

function planText(view: PlanView | null): string {
  if (view === null) return 'nothing is planned';
  return details([
    [
      'to fetch',
      `${view.exact ? '' : 'about '}${formatBytes(view.bytes)}${view.exact ? '' : ' (the parent is still building the archive)'}`,
    ],
    ['starts', view.startsAt],
    ['takes', view.durationSeconds === null ? null : formatSeconds(view.durationSeconds)],
    ['done by', view.doneBy],
    ['plan', view.words],
  ]);
}

/** The link to our parent. Throws `not_found` when there is none. */
export async function onlyLink(client: Client): Promise<LinkView> {
  const link = await findLink(client);
  if (link !== null) return link;
  throw new AppError('not_found', 'this server has no parent to replicate from', {
    hint: 'waystation server join URL; the sites below this server: waystation sync sites',
  });
}

export async function findLink(client: Client): Promise<LinkView | null> {
  return (await client.get<{ items: LinkView[] }>('/api/v1/links')).items[0] ?? null;
}

export function linkText(link: LinkView): string {
  return details([
    ['parent', link.parent],
    ['schedule', scheduleText(link)],
    ['windows', windowText(link)],
    ['cap', capText(link)],
    ...(link.paused === null ? [] : ([['paused', `by ${link.paused.by} since ${link.paused.since}`]] as const)),
    ...(link.owed === null ? [] : ([['late', `since ${link.owed.since}: ${OBSTACLES[link.owed.why]}`]] as const)),
    ['next run', link.nextRunAt],
    ...(link.plan === null ? [] : ([['plan', `${formatBytes(link.plan.bytes)} to fetch: ${link.plan.words}`]] as const)),
    ['generation', link.heldGeneration],
  ]);
}

function scheduleText({ schedule, timezone, afterParent, unscheduled }: LinkView): string {
  const cron = schedule === null ? 'off' : `${schedule} (${timezone})`;
  if (unscheduled !== null) return `off: ${unscheduled}`;
  return afterParent ? `${cron}, and after the parent` : cron;
}

const OBSTACLES: { readonly [Why in Obstacle]: string } = {
  running: 'the run before is still going',
  window: 'the window was shut',
  paused: 'the link was paused',
  parent: 'the parent has paused this server',
};

function windowText({ mayStart, mustStop, late }: LinkView): string {
  const start = mayStart === null ? 'start at any time' : `start ${mayStart}`;
  return `${start}, ${mustStop === null ? 'no stop' : `stop at ${mustStop}`}; late runs ${late === 'chain' ? 'follow' : 'are skipped'}`;
}

function capText({ capMbit, officeHours, officeCapMbit }: LinkView): string {
  const words = (value: number | null) => (value === null ? 'none' : `${value} Mbit/s`);
  return officeHours === null ? words(capMbit) : `${words(capMbit)}, ${words(officeCapMbit)} ${officeHours}`;
}

async function change(frame: Frame, ask: (client: Client) => Promise<unknown>): Promise<void> {
  print(frame, (await ask(await frame.connect())) as LinkView);
}

function print(frame: Frame, link: LinkView): void {
  frame.print(link as unknown as Json, () => linkText(link));
}

function orOff(text: string): string | null {
  return text === '' || text === 'off' ? null : text;
}
