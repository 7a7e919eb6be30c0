import type { Command } from 'commander';
import type { GcReport, StoreStats } from '../../core/content-store.ts';
import type { Frame } from '../frame.ts';
import { runLongWork } from '../long-work.ts';
import { details, formatBytes } from '../output.ts';
import { wholeNumber } from '../parse.ts';
import { printReport, type ReportView } from '../report.ts';

type GcOptions = { dryRun?: boolean; graceHours?: number };

const EXITS = '\nExit codes: 0 done, 1 damage found, 64 usage, 75 the directory is in use, 77 not permitted';

/** `waystation store …`: the content store, with the server up or down. */
export function register(program: Command, frame: Frame): void {
  const store = program
    .command('store')
    .description('the content store: check, figures, free what nobody needs')
    .addHelpText('after', EXITS);
  store
    .command('check')
    .description('read everything and hold it against its digests; exit 1 when something is, or stays, damaged')
    .option('--repair', 'put damage aside, make a wrong index again, fetch missing chunks from the parent, and read everything once more')
    .action((options: { repair?: boolean }) => check(frame, options.repair ?? false));
  store
    .command('stats')
    .description('what the store holds, and the free space beside it')
    .action(() => stats(frame));
  store
    .command('gc')
    .description('free what no image and no active order needs')
    .option('--dry-run', 'only say what would be freed')
    .option('--grace-hours <hours>', 'keep what is younger (default 24; 0 only with the server down)', wholeNumber)
    .action((options: GcOptions) => gc(frame, options));
}

async function check(frame: Frame, repair: boolean): Promise<void> {
  printReport(frame, await runLongWork<ReportView>(frame, 'check', { kind: 'check', repair }));
}

async function stats(frame: Frame): Promise<void> {
  const reached = await frame.reach();
  try {
    const figures = reached.kind === 'client' ? await reached.client.get<StoreStats>('/api/v1/store') : await reached.site.store.stats();
    frame.print({ ...figures }, () => describeStats(figures));
  } finally {
    if (reached.kind === 'site') await reached.site.close();
  }
}

function describeStats(figures: StoreStats): string {
  return details([
    ['content', `${formatBytes(figures.rawBytes)} in ${figures.chunks} chunks`],
    ['on disk', `${formatBytes(figures.storedBytes)} in ${figures.packs} packs, ${figures.frames} frames`],
    ['free space', formatBytes(figures.freeBytes)],
  ]);
}

async function gc(frame: Frame, options: GcOptions): Promise<void> {
  const graceMs = options.graceHours === undefined ? undefined : options.graceHours * 3_600_000;
  const dryRun = options.dryRun ?? false;
  const report = await runLongWork<GcReport & { dryRun: boolean }>(frame, 'gc', { kind: 'gc', dryRun, graceMs });
  frame.print({ ...report }, () =>
    details([
      [dryRun ? 'would free' : 'freed', `${formatBytes(report.freedBytes)} in ${report.freedChunks} chunks`],
      ['kept', formatBytes(report.keptBytes)],
      ['packs rewritten', report.rewrittenPacks],
    ]),
  );
}
