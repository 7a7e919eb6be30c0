import type { Progress } from '../../core/progress.ts';
import type { RunRecords } from '../../sync/replicate/ports.ts';
import { getLink } from '../db/links.ts';
import type { Run } from '../db/runs.ts';
import type { Site } from '../site.ts';
import { forecastRun, isHeldBack } from './forecast.ts';

/**
 * Records whose progress of a transfer knows the caps to come and the window: ten minutes before the office opens, the
 * rate so far says little about the rest, and a run that must stop at six is not done by seven.
 */
export function withForecast(site: Site, { run, records }: { run: Run; records: RunRecords }): RunRecords {
  return {
    ...records,
    save: async (change) => {
      const { progress } = change;
      const isTransfer = progress !== undefined && progress !== null && progress.stage === 'transfer';
      await records.save(isTransfer ? { ...change, progress: await foresee(site, run, progress) } : change);
    },
  };
}

async function foresee(site: Site, run: Run, progress: Progress): Promise<Progress> {
  const link = await getLink(site.db, run.linkId);
  if (link === undefined) return progress;
  const now = site.now();
  const bytes = Math.max(0, progress.totalBytes - progress.doneBytes);
  const seen = progress.etaSeconds === null || progress.etaSeconds === 0 ? null : (bytes * 8) / progress.etaSeconds;
  const lineBps = seen === null || isHeldBack(link, seen) ? null : seen;
  const { doneBy } = forecastRun(link, { bytes, now, run, lineBps, share: null });
  return doneBy === null ? progress : { ...progress, etaSeconds: Math.max(0, Math.ceil((doneBy - now) / 1000)) };
}
