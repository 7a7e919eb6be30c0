/** How long each of many same things took, milliseconds. */
export type Spread = { readonly p50: number; readonly p99: number; readonly n: number };

export function spreadOf(times: readonly number[]): Spread {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99), n: sorted.length };
}

/** One thing done on a small and on a large site. */
export type Row = { readonly what: string; readonly small: Spread; readonly large: Spread };

/** Does the same on both, one after the other in turns, so that what else the machine does meets both alike. */
export async function inTurns<Side>(
  { small, large, times }: { readonly small: Side; readonly large: Side; readonly times: number },
  what: string,
  work: (side: Side, n: number) => Promise<number | undefined>,
): Promise<Row> {
  const took = { small: [] as number[], large: [] as number[] };
  const once = async (side: Side, n: number, into: number[]) => {
    const started = performance.now();
    const measured = await work(side, n);
    if (n >= 0) into.push(measured ?? performance.now() - started);
  };
  for (let n = -WARM; n < times; n += 1) {
    await once(small, n, took.small);
    await once(large, n, took.large);
  }
  return { what, small: spreadOf(took.small), large: spreadOf(took.large) };
}

const WARM = 5;
