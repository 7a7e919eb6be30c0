/** What a store held at a time (epoch ms). */
export type Sample = { readonly at: number; readonly usedBytes: number };

/** How a store grows, and when it is full at this rate; null when it does not grow, or not within a hundred years. */
export type Forecast = { readonly bytesPerDay: number; readonly fullAt: number | null };

const DAY_MS = 86_400_000;
const FAR_DAYS = 36_525;

/**
 * The straight line through the samples (least squares), so that one large import does not count as the growth of every
 * day. Undefined with less than a day between the first and the last sample: that tells nothing.
 */
export function forecastGrowth(samples: readonly Sample[], { limitBytes, now }: { limitBytes: number; now: number }): Forecast | undefined {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined || last.at - first.at < DAY_MS) return undefined;
  const days = samples.map(({ at }) => (at - first.at) / DAY_MS);
  const meanDay = days.reduce((sum, day) => sum + day, 0) / samples.length;
  const meanBytes = samples.reduce((sum, { usedBytes }) => sum + usedBytes, 0) / samples.length;
  const spread = days.reduce((sum, day) => sum + (day - meanDay) ** 2, 0);
  const common = samples.reduce((sum, { usedBytes }, n) => sum + ((days[n] ?? 0) - meanDay) * (usedBytes - meanBytes), 0);
  const bytesPerDay = Math.round(common / spread);
  const daysLeft = Math.max(0, limitBytes - last.usedBytes) / bytesPerDay;
  const isComing = bytesPerDay > 0 && daysLeft < FAR_DAYS;
  return { bytesPerDay, fullAt: isComing ? Math.max(now, Math.round(last.at + daysLeft * DAY_MS)) : null };
}
