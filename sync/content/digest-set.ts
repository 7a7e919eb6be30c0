import type { Digest } from '../../core/ids.ts';

/** A set of digests in about 24 octets each: a terabyte of chunks is 16 million of them. */
export type DigestSet = {
  /** True when it was not there yet. */
  readonly add: (digest: Digest) => boolean;
  readonly has: (digest: Digest) => boolean;
  readonly size: () => number;
};

/**
 * Keeps the first 128 bits of each digest, in one flat table with linear probing: nobody finds two digests that
 * share them (2^64 tries for any pair).
 */
export function createDigestSet(): DigestSet {
  let slots = new BigUint64Array(2 * 1024);
  let count = 0;

  function slotOf(table: BigUint64Array, high: bigint, low: bigint): number {
    const mask = table.length / 2 - 1;
    let slot = Number(low & 0xffffffffn) & mask;
    while (table[slot * 2] !== 0n || table[slot * 2 + 1] !== 0n) {
      if (table[slot * 2] === high && table[slot * 2 + 1] === low) break;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  function grow(): void {
    const larger = new BigUint64Array(slots.length * 2);
    for (let slot = 0; slot < slots.length; slot += 2) {
      const [high, low] = [slots[slot] ?? 0n, slots[slot + 1] ?? 0n];
      if (high !== 0n || low !== 0n) larger.set([high, low], slotOf(larger, high, low) * 2);
    }
    slots = larger;
  }

  function find(digest: Digest): { slot: number; high: bigint; low: bigint; isThere: boolean } {
    const high = BigInt(`0x${digest.slice(7, 23)}`);
    const low = BigInt(`0x${digest.slice(23, 39)}`);
    const slot = slotOf(slots, high, low);
    return { slot, high, low, isThere: slots[slot * 2] === high && slots[slot * 2 + 1] === low };
  }

  return {
    has: (digest) => find(digest).isThere,
    size: () => count,
    add(digest) {
      const { slot, high, low, isThere } = find(digest);
      if (isThere) return false;
      slots[slot * 2] = high;
      slots[slot * 2 + 1] = low;
      count += 1;
      if (count * 2 > slots.length / 2) grow();
      return true;
    },
  };
}
