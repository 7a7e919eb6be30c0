import type { Inventory } from '../../core/agent-protocol.ts';
import type { Id, Mac } from '../../core/ids.ts';
import type { Arch } from '../../core/image.ts';
import type { DiscoveredBy, Environment, Firmware, Target, TargetPatch } from '../db/targets.ts';
import { type KnownIdentity, type SaidIdentity, swappedUuid } from './identity.ts';

/** A machine was seen: what it said about itself, and who heard it. */
export type Sighting = SaidIdentity & {
  readonly arch?: Arch | undefined;
  readonly firmware?: Firmware | undefined;
  readonly environment?: Environment | undefined;
  readonly activity?: string | undefined;
  readonly inventory?: Inventory | undefined;
  readonly discoveredBy: DiscoveredBy;
  /** Epoch milliseconds of the packet or request, when it is written down later than it came; default: now. */
  readonly at?: number | undefined;
  /** The id to give to a machine that is new; one that is known keeps its own. */
  readonly id?: Id | undefined;
};

const ACTIVITY_LENGTH = 64;
/** A machine that only says again what is known is written down once in this time. */
const SEEN_STEP_MS = 5_000;

/** Whether these facts can be of one machine: what both sides know must agree. */
export function mayBeSame(target: Pick<Target, 'uuid' | 'serial'>, said: KnownIdentity): boolean {
  if (target.uuid !== null && said.uuid !== null) return target.uuid === said.uuid || target.uuid === swappedUuid(said.uuid);
  return target.serial === null || said.serial === null || target.serial === said.serial;
}

/**
 * What a sighting changes in a target, or undefined when there is nothing worth a write. Identity is only
 * added, never overwritten; an older sighting than the last one does not say where the machine is.
 */
export function patchFrom(target: Target, said: KnownIdentity, sighting: Sighting, now: number): TargetPatch | undefined {
  const at = sighting.at ?? now;
  const isLatest = target.seenAt === null || at >= target.seenAt;
  const patch: TargetPatch = {};
  if (target.uuid === null && said.uuid !== null) patch.uuid = said.uuid;
  if (target.serial === null && said.serial !== null) patch.serial = said.serial;
  if (sighting.arch !== undefined && sighting.arch !== target.arch) patch.arch = sighting.arch;
  if (sighting.firmware !== undefined && sighting.firmware !== target.firmware) patch.firmware = sighting.firmware;
  if (sighting.inventory !== undefined) patch.inventory = sighting.inventory;
  if (isLatest && sighting.environment !== undefined && sighting.environment !== target.environment)
    patch.environment = sighting.environment;
  const activity = sighting.activity?.slice(0, ACTIVITY_LENGTH);
  if (isLatest && activity !== undefined && activity !== target.activity) patch.activity = activity;
  const isNews = Object.keys(patch).length > 0;
  const isLongAgo = target.seenAt === null || at - target.seenAt >= SEEN_STEP_MS;
  if (!isNews && !isLongAgo) return undefined;
  return { ...patch, seenAt: Math.max(at, target.seenAt ?? 0) };
}

/** Addresses that the target does not own yet. */
export function newMacs(target: Pick<Target, 'macs'>, said: KnownIdentity): readonly Mac[] {
  return said.macs.filter((mac) => !target.macs.includes(mac));
}
