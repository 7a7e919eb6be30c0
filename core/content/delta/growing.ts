type Numbers = Float64Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

const FIRST_BYTES = 8192;

/** A list of numbers in a typed array that doubles: 4 or 8 octets each, where an ordinary list of millions would take four times that. */
export type Growing<Of extends Numbers> = {
  push(value: number): void;
  readonly length: number;
  /** What was pushed; read only, and good until the next push. */
  values(): Of;
};

export function growing<Of extends Numbers>(over: (octets: ArrayBuffer) => Of): Growing<Of> {
  let held = over(new ArrayBuffer(FIRST_BYTES));
  let length = 0;
  return {
    push(value) {
      if (length === held.length) {
        // The memory moves: none is left for the collector.
        held = over(held.buffer.transfer(held.byteLength * 2));
      }
      held[length] = value;
      length += 1;
    },
    get length() {
      return length;
    },
    values: () => held.subarray(0, length) as Of,
  };
}

export const float64 = (octets: ArrayBuffer) => new Float64Array(octets);
export const uint32 = (octets: ArrayBuffer) => new Uint32Array(octets);

/** Index of the last of these ascending values that is not above `wanted`, from `low` up to and without `high`; `low - 1` when there is none. */
export function lastAtMost(values: Float64Array | Uint32Array, wanted: number, low = 0, high: number = values.length): number {
  let [from, to] = [low, high];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((values[middle] ?? 0) <= wanted) from = middle + 1;
    else to = middle;
  }
  return from - 1;
}
