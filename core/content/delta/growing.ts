type Numbers = Float64Array | Uint32Array;

/** A list of numbers in a typed array that doubles: 4 or 8 octets each, where an ordinary list of millions would take four times that. */
export type Growing<Of extends Numbers> = {
  push(value: number): void;
  readonly length: number;
  /** What was pushed; read only, and good until the next push. */
  values(): Of;
};

export function growing<Of extends Numbers>(make: (length: number) => Of): Growing<Of> {
  let held = make(1024);
  let length = 0;
  return {
    push(value) {
      if (length === held.length) {
        const larger = make(held.length * 2);
        larger.set(held);
        held = larger;
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

export const float64 = (length: number): Float64Array => new Float64Array(length);
export const uint32 = (length: number): Uint32Array => new Uint32Array(length);

/** Index of the last of these ascending values that is not above `wanted`, from `low` up to and without `high`; `low - 1` when there is none. */
export function lastAtMost(values: Numbers, wanted: number, low = 0, high: number = values.length): number {
  let [from, to] = [low, high];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((values[middle] ?? 0) <= wanted) from = middle + 1;
    else to = middle;
  }
  return from - 1;
}
