import { growing, uint32 } from './growing.ts';

/** Finds blocks by their CRC-32; the first of several with the same one. About 12 octets for each block. */
export type BlockIndex = {
  /** Blocks are numbered from 0 in the order in which they come. */
  add(crc: number): void;
  /** The block's number, or -1. Equal sums need not be equal blocks: who asks must not rely on it. */
  find(crc: number): number;
  readonly blocks: number;
};

export function createBlockIndex(): BlockIndex {
  const sums = growing(uint32);
  let slots = new Uint32Array(4096);

  function slotOf(table: Uint32Array, crc: number): number {
    const mask = table.length - 1;
    const held = sums.values();
    // Knuth's multiplicative hash: CRCs of similar blocks are spread already, those of a hostile image need not be.
    let slot = (Math.imul(crc, 2654435761) >>> 7) & mask;
    for (let entry = table[slot] ?? 0; entry !== 0 && held[entry - 1] !== crc; entry = table[slot] ?? 0) slot = (slot + 1) & mask;
    return slot;
  }

  function grow(): void {
    const larger = new Uint32Array(slots.length * 2);
    const held = sums.values();
    for (const entry of slots) if (entry !== 0) larger[slotOf(larger, held[entry - 1] ?? 0)] = entry;
    // Given back at once: megabytes that the collector would be late to take.
    slots.buffer.transfer(0);
    slots = larger;
  }

  return {
    add(crc) {
      sums.push(crc);
      if (sums.length * 2 > slots.length) grow();
      const slot = slotOf(slots, crc);
      if (slots[slot] === 0) slots[slot] = sums.length;
    },
    find: (crc) => (slots[slotOf(slots, crc)] ?? 0) - 1,
    get blocks() {
      return sums.length;
    },
  };
}
