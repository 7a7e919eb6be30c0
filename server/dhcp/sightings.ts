import type { Mac } from '../../core/ids.ts';
import type { PxeClient } from './client.ts';

export type PxeSighting = { readonly mac: Mac; readonly client: PxeClient; readonly at: number };

/** Writing down is slower than answering, and a forged address costs the forger nothing: so both are bounded. */
const WAITING = 256;
const REPEAT_MS = 30_000;
const REMEMBERED = 4_096;
const PER_SECOND = 5;
const BURST = 100;

export type Sightings = {
  /** Returns at once; forgets the sighting when too much waits. The boot script writes the machine down anyway. */
  note(sighting: PxeSighting): void;
  /** Resolves when nothing waits any more. */
  settled(): Promise<void>;
};

/**
 * Hands sightings one after another to `record`: a machine once in 30 s, at most 5 a second (100 at once). A record
 * that fails is told to `onError` and forgotten.
 */
export function sightingQueue(record: (sighting: PxeSighting) => Promise<void>, onError: (error: unknown) => void): Sightings {
  const waiting = new Map<Mac, PxeSighting>();
  const lastAt = new Map<Mac, number>();
  let allowance = BURST;
  let allowedAt = Number.NEGATIVE_INFINITY;
  let working: Promise<void> | undefined;

  const isAllowed = (at: number): boolean => {
    allowance = Math.min(BURST, allowance + (Math.max(0, at - allowedAt) / 1000) * PER_SECOND);
    allowedAt = Math.max(at, allowedAt);
    if (allowance < 1) return false;
    allowance -= 1;
    return true;
  };
  const work = async (): Promise<void> => {
    for (const [mac, sighting] of waiting) {
      waiting.delete(mac);
      await record(sighting).catch(onError);
    }
    working = undefined;
  };
  return {
    note: (sighting) => {
      const { mac, at } = sighting;
      if (at - (lastAt.get(mac) ?? Number.NEGATIVE_INFINITY) < REPEAT_MS || waiting.size >= WAITING || !isAllowed(at)) return;
      if (lastAt.size >= REMEMBERED) lastAt.delete(lastAt.keys().next().value as Mac);
      lastAt.set(mac, at);
      waiting.set(mac, sighting);
      working ??= work();
    },
    settled: async () => {
      while (working !== undefined) await working;
    },
  };
}
