import { createHash } from 'node:crypto';
import type { Digest } from '../../../core/ids.ts';
import { decideStart } from '../../../core/schedule/decide.ts';
import { openZone, type Zone } from '../../../core/schedule/zone.ts';
import { randomFrom } from '../seeded.ts';
import { type Clock, openClock } from './clock.ts';
import { halfVisible, makeSite, publish, type Site, type Version, versionsOf, work } from './site.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** The week in which clocks go forward in Berlin. */
const START = Date.parse('2026-03-25T12:00:00Z');
const WINDOWS = { mayStart: '20:00-06:00', mustStop: null };

export type Week = {
  readonly sites: readonly Site[];
  readonly hq: Site;
  readonly faults: Record<string, number>;
  readonly ends: Record<string, number>;
};

/**
 * Seven days of three tiers and five branches, with links that go down for up to a day, processes that are killed, archives
 * that are evicted, disks that are full and new versions at HQ; then two quiet days. One seed is one week. Throws when a
 * version can be seen that is not whole.
 */
export async function playWeek(seed: number): Promise<Week> {
  const random = randomFrom(seed);
  const clock = openClock(START);
  const zone = openZone('Europe/Berlin');
  if (zone === undefined) throw new Error('no such zone');
  const hq = makeSite('hq');
  const relays = ['relay-1', 'relay-2'].map((name) => makeSite(name, hq));
  const branches = [1, 2, 3, 4, 5].map((n) => makeSite(`branch-${n}`, n === 5 ? hq : relays[n % 2]));
  const sites = [...relays, ...branches];
  const all = new Map<Digest, Version>();
  const faults: Record<string, number> = {};
  const ends: Record<string, number> = {};
  const count = (what: string, counts = faults) => {
    counts[what] = (counts[what] ?? 0) + 1;
  };
  const start = (site: Site) => void serve(clock, site, { all, zone, onEnd: (state) => count(state, ends) });
  addVersion(hq, all, random);
  for (const site of sites) start(site);

  const trouble = async () => {
    while (clock.now() < START + 7 * DAY) {
      await clock.sleep(random() * 2 * HOUR);
      const site = sites[Math.floor(random() * sites.length)] as Site;
      const what = random();
      if (what < 0.12) addVersion(hq, all, random);
      else if (what < 0.45) void cut(site, random() < 0.1 ? 20 * HOUR : random() * 5 * 60_000);
      else if (what < 0.75) void kill(site, random() * 20 * 60_000);
      else if (what < 0.85) for (const other of [hq, ...relays]) other.shelf.clear();
      else void fill(site, random() * 10 * HOUR);
      count(what < 0.12 ? 'versions' : what < 0.45 ? 'cuts' : what < 0.75 ? 'kills' : what < 0.85 ? 'evictions' : 'full disks');
    }
  };
  const cut = async (site: Site, ms: number) => {
    interrupt(site);
    site.isLinkUp = false;
    await clock.sleep(ms);
    site.isLinkUp = true;
  };
  const kill = async (site: Site, ms: number) => {
    for (const hit of [site, ...sites.filter(({ parent }) => parent === site)]) interrupt(hit);
    const children = sites.filter(({ parent, isLinkUp }) => parent === site && isLinkUp);
    const incarnation = ++site.incarnation;
    site.isCarrying = false;
    site.shelf.clear();
    for (const child of children) child.isLinkUp = false;
    await clock.sleep(ms);
    for (const child of children) child.isLinkUp = true;
    // Killed again meanwhile: DIR/lock lets one process in, the last.
    if (site.incarnation === incarnation) start(site);
  };
  const fill = async (site: Site, ms: number) => {
    site.isFull = true;
    await clock.sleep(ms);
    site.isFull = false;
  };
  const seen = new Map<Site, number>();
  void trouble();
  await clock.run(START + 9.5 * DAY, () => {
    for (const site of sites) {
      if (site.log.length === seen.get(site)) continue;
      const half = halfVisible(site, seen.get(site) ?? 0);
      seen.set(site, site.log.length);
      if (half !== undefined) throw new Error(`${site.name} shows ${half.name}, which is not whole`);
    }
  });
  return { sites, hq, faults, ends };
}

function interrupt(site: Site): void {
  if (site.isCarrying) site.traffic.interruptions += 1;
}

/** One process of a site: goes on with an unfinished run, else starts one when schedule and window say so. */
async function serve(
  clock: Clock,
  site: Site,
  { all, zone, onEnd }: { all: Map<Digest, Version>; zone: Zone; onEnd: (state: string) => void },
): Promise<void> {
  const { incarnation } = site;
  const isDead = () => site.incarnation !== incarnation;
  let owed: { since: number; why: 'window' } | null = null;
  for (let dueAt = nextDue(site, clock.now() - 2 * HOUR); ; ) {
    if (site.run !== undefined) onEnd(await work(clock, site, all));
    const now = clock.now();
    const link = { isPaused: false, isRunning: false, restUntil: null, late: 'chain', windows: WINDOWS, zone } as const;
    const decision = decideStart({ ...link, now, dueAt, owed });
    if (decision.do !== 'wait') dueAt = nextDue(site, now);
    if (decision.do === 'start') {
      owed = null;
      onEnd(await work(clock, site, all));
    } else if (decision.do === 'owe') owed = { since: now, why: 'window' };
    else await clock.sleep(Math.min(HOUR, (decision.until ?? now + HOUR) - now), isDead);
  }
}

/** Relays at six-hourly times, branches an hour later. */
function nextDue(site: Site, after: number): number {
  const offset = site.name.startsWith('relay') ? 0 : HOUR;
  return (Math.floor((after - offset) / (6 * HOUR)) + 1) * 6 * HOUR + offset;
}

/** A new image, or a version that shares most of its frames with the one before. */
function addVersion(hq: Site, all: Map<Digest, Version>, random: () => number): void {
  const before = versionsOf(hq).at(-1);
  const made = all.size;
  const fresh = Array.from({ length: 3 + Math.floor(random() * 30) }, (_, n) => `frame-${made}-${n}`);
  const kept = random() < 0.7 ? (before?.frames ?? []).filter(() => random() < 0.8) : [];
  const frames = [...kept, ...fresh];
  const manifest = `sha256:${createHash('sha256').update(frames.join()).digest('hex')}` as Digest;
  const version = { manifest, name: `image-${made}`, frames };
  all.set(manifest, version);
  for (const frame of frames) hq.frames.add(frame);
  publish(hq, version);
}
