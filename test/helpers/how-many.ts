/** Of what a test repeats: a sample for `make test`, the full count for `make soak`. */
export type Count = { readonly sample: number; readonly full: number };

/**
 * How often a test does what it repeats (kills, flips, weeks; seconds too). N=… in the environment is the number; SOAK=1,
 * which `make soak` sets, means the full one. One call in a line `const KILLS = howMany({ sample: 3, full: 200 });` makes its
 * file one of those that `make soak` runs: test/runner/soak.ts reads that line.
 */
export function howMany({ sample, full }: Count, env: NodeJS.ProcessEnv = process.env): number {
  const wanted = Number(env['N'] || (env['SOAK'] ? full : sample));
  if (!(wanted >= 1)) throw new Error(`N is how often a test repeats what it does, not "${env['N']}"`);
  return wanted;
}
