import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { type Lane, openLane } from '../../sync/egress/lane.ts';
import { type EgressScheduler, openScheduler } from '../../sync/egress/scheduler.ts';
import { type Grant, getGrant, getTotalEgress } from '../db/egress.ts';
import type { Site } from '../site.ts';

/** The wake topic of what a parent grants: the total, priorities, pauses. */
export const EGRESS = 'egress';
const LOOK_AGAIN_MS = 30_000;
/** A run has one at a time, and one that begins while another one ends. */
const MOST_TUNNELS = 16;

/** One tunnel's place in the queue for our egress. */
export type TunnelLane = Lane & {
  /** The cap that the child told, bits per second; the newest of its tunnels counts. */
  setCap(bps: number | null): void;
};

/** Called when it is the turn of what was asked for. */
type Ticket = () => void;
type Flow = { bps: number | null; priority: number; readonly lanes: Map<Lane, () => void> };

/** What all tunnels of one process share; it holds nothing that a new process would miss. */
type Egress = {
  readonly scheduler: EgressScheduler<Ticket>;
  readonly flows: Map<Id, Flow>;
  timer: NodeJS.Timeout | undefined;
  watching: boolean;
};

const EGRESSES = new WeakMap<Site['wake'], Egress>();

/**
 * Takes a place for a tunnel of that child. `onPaused` is called when the child is paused while the lane is open.
 * Throws `disabled` when it is paused already, `busy` when it has too many.
 */
export async function openTunnelLane(
  site: Site,
  childId: Id,
  given: { readonly bps: number | null; readonly onPaused: () => void },
): Promise<TunnelLane> {
  const egress = egressOf(site);
  const grant = await readGrant(site, egress, childId);
  if (grant.paused !== null) throw pausedHere(site, grant.paused);
  const flow = egress.flows.get(childId) ?? { bps: given.bps, priority: grant.priority, lanes: new Map() };
  if (flow.lanes.size >= MOST_TUNNELS)
    throw new AppError('busy', `this server has ${MOST_TUNNELS} tunnels here already`, { hint: 'they end by themselves; then run again' });
  egress.flows.set(childId, flow);
  const setFlow = (change: Partial<Flow>) => {
    Object.assign(flow, change);
    egress.scheduler.setFlow(childId, flow, performance.now());
    pump(egress);
  };
  setFlow({ bps: given.bps, priority: grant.priority });
  const lane = openLane({
    now: () => performance.now(),
    sliceBytes: () => egress.scheduler.sliceBytes(childId),
    ask: (bytes, give) => {
      egress.scheduler.ask(childId, bytes, give);
      pump(egress);
    },
  });
  flow.lanes.set(lane, given.onPaused);
  if (!egress.watching) void watch(site, egress);
  return {
    pace: lane.pace,
    setCap: (bps) => setFlow({ bps }),
    close: () => {
      lane.close();
      flow.lanes.delete(lane);
      if (flow.lanes.size > 0 || egress.flows.get(childId) !== flow) return;
      egress.flows.delete(childId);
      egress.scheduler.removeFlow(childId);
      pump(egress);
      if (egress.flows.size === 0) site.wake.notify(EGRESS);
    },
  };
}

/** Which children have a tunnel at this moment. */
export function fetchingChildren(site: Pick<Site, 'wake'>): readonly Id[] {
  return [...(EGRESSES.get(site.wake)?.flows.keys() ?? [])];
}

/** Throws `disabled` when the child is paused here: it is given no content. */
export async function refusePausedChild(site: Site, childId: Id): Promise<void> {
  const grant = await getGrant(site.db, childId);
  if (grant !== undefined && grant.paused !== null) throw pausedHere(site, grant.paused);
}

/** Hands out what may be sent now and sets the timer for the rest. */
function pump(egress: Egress): void {
  clearTimeout(egress.timer);
  const { granted, nextAt } = egress.scheduler.grant(performance.now());
  for (const give of granted) give();
  if (nextAt !== null) egress.timer = setTimeout(() => pump(egress), Math.max(1, nextAt - performance.now()));
}

/** As long as there are tunnels: changes of the total, of priorities and pauses reach them at once. */
async function watch(site: Site, egress: Egress): Promise<void> {
  egress.watching = true;
  while (egress.flows.size > 0) {
    await site.wake.wait(EGRESS, LOOK_AGAIN_MS);
    try {
      for (const [childId, flow] of egress.flows) {
        const grant = await readGrant(site, egress, childId);
        flow.priority = grant.priority;
        egress.scheduler.setFlow(childId, flow, performance.now());
        if (grant.paused !== null) for (const onPaused of flow.lanes.values()) onPaused();
      }
      pump(egress);
    } catch (error) {
      // The next look may succeed; until then what was granted holds.
      site.log.warn('what children are granted cannot be read', { error: String(error) });
    }
  }
  egress.watching = false;
}

async function readGrant(site: Site, egress: Egress, childId: Id): Promise<Grant> {
  egress.scheduler.setTotal(await getTotalEgress(site.db), performance.now());
  const grant = await getGrant(site.db, childId);
  if (grant !== undefined) return grant;
  throw new AppError('not_permitted', 'only children of this server get its content');
}

function egressOf(site: Site): Egress {
  const found = EGRESSES.get(site.wake) ?? { scheduler: openScheduler<Ticket>(), flows: new Map(), timer: undefined, watching: false };
  EGRESSES.set(site.wake, found);
  return found;
}

function pausedHere(site: Site, { at, by }: { at: number; by: string }): AppError {
  return new AppError('disabled', `${site.self.name} has paused this server, by ${by} since ${new Date(at).toISOString()}`, {
    hint: 'what came is kept; runs go on when it is resumed there',
  });
}
