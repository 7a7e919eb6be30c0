import { createHash } from 'node:crypto';
import type { Envelope } from '../../../core/envelope.ts';
import { AppError } from '../../../core/errors.ts';
import type { Digest, Id } from '../../../core/ids.ts';
import type { RunState } from '../../../core/run.ts';
import type { ArchivePart, ArchivePlan } from '../../../core/sync-protocol.ts';
import { EMPTY_PLAN, partsLeft, type RunPlan } from '../../../sync/replicate/plan.ts';
import type { RunTools } from '../../../sync/replicate/ports.ts';
import { retryUnreachable } from '../../../sync/replicate/retry.ts';
import { executeRun, type Outcome, WORK } from '../../../sync/replicate/run.ts';
import type { Clock } from './clock.ts';

/** A frame is the unit of bytes here, and takes this long to cross a link. */
const FRAME_MS = 20_000;
const FRAMES_PER_PART = 8;
const FRAME_BYTES = 1_048_576;

/** One version of one image: its frames are what it consists of. */
export type Version = { readonly manifest: Digest; readonly name: string; readonly frames: readonly string[] };

/** What a link carried, and how often it was interrupted while it carried. */
export type Traffic = { frames: number; interruptions: number; readonly distinct: Set<string> };

/** A server as its disk has it; what a process knows beyond it dies with the process. */
export type Site = {
  readonly name: string;
  readonly parent: Site | undefined;
  readonly traffic: Traffic;
  generation: number;
  readonly log: { readonly generation: number; readonly version: Version }[];
  readonly frames: Set<string>;
  held: number;
  run: { state: RunState; plan: RunPlan } | undefined;
  lastPlan: RunPlan | undefined;
  readonly incoming: Map<string, number>;
  /** Archives that are built: gone after an eviction or a kill. */
  readonly shelf: Map<string, readonly ArchivePart[]>;
  readonly parts: Map<string, readonly string[]>;
  /** A frame is under way on the link to the parent. */
  isCarrying: boolean;
  isLinkUp: boolean;
  isFull: boolean;
  incarnation: number;
};

export function makeSite(name: string, parent?: Site): Site {
  return {
    name,
    parent,
    traffic: { frames: 0, interruptions: 0, distinct: new Set() },
    generation: 0,
    log: [],
    frames: new Set(),
    held: 0,
    run: undefined,
    lastPlan: undefined,
    incoming: new Map(),
    shelf: new Map(),
    parts: new Map(),
    isCarrying: false,
    isLinkUp: true,
    isFull: false,
    incarnation: 0,
  };
}

export function publish(site: Site, version: Version): void {
  site.generation += 1;
  site.log.push({ generation: site.generation, version });
}

const hex = (text: string) => createHash('sha256').update(text).digest('hex');
const isComplete = (site: Site, version: Version) => version.frames.every((frame) => site.frames.has(frame));
export const versionsOf = (site: Site): Version[] => site.log.map(({ version }) => version);
/** A version that can be seen and is not whole, of those from `from` on: frames that are here stay. */
export const halfVisible = (site: Site, from: number): Version | undefined =>
  site.log.slice(from).find(({ version }) => !isComplete(site, version))?.version;

/** Works on the site's run, in this incarnation of its process, until it ends. */
export async function work(clock: Clock, site: Site, all: ReadonlyMap<Digest, Version>): Promise<RunState> {
  const incarnation = site.incarnation;
  const isDead = () => site.incarnation !== incarnation;
  const kept = { unpacked: site.lastPlan?.unpacked ?? [], unfinished: unfinishedOf(site.lastPlan) };
  const from = site.run ?? { state: 'waiting-parent', plan: { ...EMPTY_PLAN, ...kept } };
  site.run = from;
  const world = { clock, site, all, isDead };
  const state = await executeRun(toolsOf(world), from, { ...WORK, transfer: (tools, plan) => transfer(world, tools, plan) });
  site.lastPlan = state === 'done' ? undefined : site.run?.plan;
  site.run = undefined;
  return state;
}

/** As server/replication/kept-work.ts. */
const unfinishedOf = (last?: RunPlan) => (last === undefined ? [] : last.want.length > 0 ? last.want : last.unfinished);

type World = { readonly clock: Clock; readonly site: Site; readonly all: ReadonlyMap<Digest, Version>; readonly isDead: () => boolean };

function toolsOf({ clock, site, all, isDead }: World): RunTools {
  const alive = <Value>(value: () => Value): Promise<Value> => (isDead() ? new Promise(() => undefined) : Promise.resolve().then(value));
  const sleep = (ms: number) => clock.sleep(ms, isDead);
  const ask = async <Value>(answer: (parent: Site) => Value): Promise<Value> => {
    await sleep(40);
    if (!site.isLinkUp || site.parent === undefined) throw unreachable();
    return answer(site.parent);
  };
  const read = () =>
    ask((parent) => ({
      epoch: 0,
      generation: parent.generation,
      objects: parent.log.filter(({ generation }) => generation > site.held).map(({ version }) => envelopeOf(version)),
    }));
  const tools: Partial<RunTools> = {
    catalogue: { reach: async () => void (await read()), read },
    content: {
      requestArchive: (wish) => ask((parent) => plan(parent, all, wish)),
      openTunnel: () => Promise.reject(new Error('not in a simulation')),
    },
    records: {
      save: ({ state, plan: next }) =>
        alive(() => {
          site.run = { state: state ?? site.run?.state ?? 'waiting-parent', plan: next ?? site.run?.plan ?? EMPTY_PLAN };
        }),
      wantedManifests: async (objects) => objects.map(({ body }) => (body as { manifest: Digest }).manifest),
      relatedManifests: async () => [versionsOf(site).map(({ manifest }) => manifest)],
      publish: (catalogue) =>
        alive(() => {
          for (const { body } of catalogue.objects) publish(site, all.get((body as { manifest: Digest }).manifest) as Version);
          site.held = catalogue.generation;
        }),
    },
    store: {
      missingOf: (manifests: readonly Digest[]) =>
        alive(() => ({ chunks: 0, rawBytes: 0, complete: manifests.filter((one) => isComplete(site, all.get(one) as Version)) })),
    } as unknown as RunTools['store'],
    incoming: '/nowhere',
    freeBytes: async () => (site.isFull ? 0 : Number.MAX_SAFE_INTEGER),
    reserveBytes: 1,
    requireQuota: async () => undefined,
    onRsyncBytes: () => undefined,
    monotonicMs: clock.now,
    sleep,
    waitForSpace: async () => {
      await sleep(60_000);
      return true;
    },
    signal: new AbortController().signal,
    patience: 8,
  };
  return tools as RunTools;
}

/** What the parent builds: the frames that `want` has and `have` has not, the same for everybody who asks the same. */
function plan(parent: Site, all: ReadonlyMap<Digest, Version>, wish: { have: readonly Digest[]; want: readonly Digest[] }): ArchivePlan {
  const framesOf = (manifests: readonly Digest[]) => manifests.flatMap((one) => all.get(one)?.frames ?? []);
  const known = new Set(framesOf(wish.have));
  const frames = [...new Set(framesOf([...wish.want].sort()))].filter((frame) => !known.has(frame));
  const parts: ArchivePart[] = [];
  for (let at = 0; at < frames.length; at += FRAMES_PER_PART) {
    const inside = frames.slice(at, at + FRAMES_PER_PART);
    const name = hex(inside.join());
    parent.parts.set(name, inside);
    parts.push({ name, sizeBytes: inside.length * FRAME_BYTES, rawBytes: inside.length * FRAME_BYTES, frames: inside.length });
  }
  const key = hex(JSON.stringify([wish.have, wish.want]));
  parent.shelf.set(key, parts);
  return { key, state: 'ready', doneBytes: 0, totalBytes: 0, parts };
}

/** As sync/replicate/transfer.ts does it, with a link that carries frames: a beginning that has arrived is kept. */
async function transfer(world: World, tools: RunTools, from: RunPlan): Promise<Outcome> {
  const { site } = world;
  let current = from;
  const wanted = partsLeft(from).map(({ name }) => name);
  for (const name of site.incoming.keys()) if (!wanted.includes(name)) site.incoming.delete(name);
  for (const { name } of partsLeft(from)) {
    const isThere = await retryUnreachable(tools, () => fetch(world, tools, name, from.archive?.key ?? ''));
    if (!isThere) return { event: 'evicted', plan: current };
    for (const frame of site.parent?.parts.get(name) ?? []) site.frames.add(frame);
    // Killed here, the part is unpacked again, not fetched again.
    await tools.sleep(1);
    current = { ...current, unpacked: [...current.unpacked, name] };
    await tools.records.save({ plan: current });
    site.incoming.delete(name);
  }
  return { event: 'landed', plan: current };
}

async function fetch({ site, isDead }: World, tools: RunTools, name: string, key: string): Promise<boolean> {
  const frames = site.parent?.parts.get(name) ?? [];
  for (let at = site.incoming.get(name) ?? 0; at < frames.length; at += 1) {
    if (!site.isLinkUp) throw unreachable();
    if (!site.parent?.shelf.has(key)) return false;
    if (site.isFull) throw new AppError('disk_full', 'no space');
    site.traffic.frames += 1;
    site.traffic.distinct.add(frames[at] as string);
    site.isCarrying = true;
    await tools.sleep(FRAME_MS);
    site.isCarrying = false;
    if (isDead()) return new Promise(() => undefined);
    if (!site.isLinkUp) throw unreachable();
    site.incoming.set(name, at + 1);
  }
  return true;
}

function envelopeOf({ manifest }: Version): Envelope {
  const id = manifest.slice(7, 43) as Id;
  return { kind: 'document', id, origin: id, revision: 1, body: { manifest }, digest: manifest, keyId: manifest, signature: '' };
}

const unreachable = () => new AppError('unreachable', 'the link is down');
