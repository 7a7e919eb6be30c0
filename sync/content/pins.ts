import type { Digest } from '../../core/ids.ts';

/**
 * What an operation under way relies on, counted: packs whose chunks it read or decided not to store
 * again, and manifests that it walks; and manifests that somebody is about to name as needed. Garbage collection leaves all
 * of them alone.
 */
export type Pins = {
  pinPack(name: string): void;
  unpinPack(name: string): void;
  isPackPinned(name: string): boolean;
  /** From now on a pack counts as pinned as long as the one is from which its content came. */
  followPack(name: string, from: string): void;
  /** Runs `work` with these manifests held as roots. */
  withRoots<Result>(manifests: readonly Digest[], work: () => Promise<Result>): Promise<Result>;
  /** Holds manifests as roots for an hour: whoever asked whether they are here publishes or records them by then. */
  keepRoots(manifests: readonly Digest[]): void;
  roots(): readonly Digest[];
};

const KEPT_MS = 3_600_000;

export function createPins(): Pins {
  const packs = new Map<string, number>();
  const roots = new Map<Digest, number>();
  const keptUntil = new Map<Digest, number>();
  const followed = new Map<string, string>();
  const isPinned = (name: string): boolean => {
    const from = followed.get(name);
    return packs.has(name) || (from !== undefined && isPinned(from));
  };
  return {
    pinPack: (name) => count(packs, name, 1),
    unpinPack: (name) => count(packs, name, -1),
    isPackPinned: isPinned,
    followPack: (name, from) => void followed.set(name, from),
    keepRoots: (manifests) => {
      for (const manifest of manifests) keptUntil.set(manifest, performance.now() + KEPT_MS);
    },
    roots: () => {
      for (const [manifest, until] of keptUntil) if (until < performance.now()) keptUntil.delete(manifest);
      return [...new Set([...roots.keys(), ...keptUntil.keys()])];
    },
    async withRoots(manifests, work) {
      for (const manifest of manifests) count(roots, manifest, 1);
      try {
        return await work();
      } finally {
        for (const manifest of manifests) count(roots, manifest, -1);
      }
    },
  };
}

function count<Key>(counts: Map<Key, number>, key: Key, by: number): void {
  const now = (counts.get(key) ?? 0) + by;
  if (now > 0) counts.set(key, now);
  else counts.delete(key);
}
