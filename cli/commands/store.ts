import type { Command } from 'commander';
import type { GcReport } from '../../core/content-store.ts';
import type { SpareImage } from '../../server/care/spare.ts';
import type { StoreView } from '../../server/care/store-view.ts';
import type { Site } from '../../server/site.ts';
import type { Frame } from '../frame.ts';
import { runLongWork } from '../long-work.ts';
import { details, formatBytes } from '../output.ts';
import { wholeNumber } from '../parse.ts';
import { printReport, type ReportView } from '../report.ts';
import { work } from '../work.ts';

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
    .description('what the store holds, quota and forecast, the last scrub, what is lost')
    .action(() => stats(frame));
  store
    .command('gc')
    .description('free what no image and no active order needs')
    .option('--dry-run', 'only say what would be freed, and which old versions could go')
    .option('--grace-hours <hours>', 'keep what is younger (default 24; 0 only with the server down)', wholeNumber)
    .action((options: GcOptions) => gc(frame, options));
}

async function check(frame: Frame, repair: boolean): Promise<void> {
  printReport(frame, await runLongWork<ReportView>(frame, 'check', { kind: 'check', repair }));
}

async function stats(frame: Frame): Promise<void> {
  const figures = await work<StoreView>(frame, { client: (client) => client.get('/api/v1/store'), site: viewHere });
  frame.print({ ...figures }, () => describeStats(figures));
}

async function viewHere(site: Site): Promise<StoreView> {
  const { viewStore } = await import('../../server/care/store-view.ts');
  return viewStore(site);
}

function describeStats(figures: StoreView): string {
  const { quotaBytes, forecast, scrub, lost } = figures;
  return details([
    ['content', `${formatBytes(figures.rawBytes)} in ${figures.chunks} chunks`],
    ['on disk', `${formatBytes(figures.storedBytes)} in ${figures.packs} packs, ${figures.frames} frames`],
    ['quota', quotaBytes === null ? 'none' : `${formatBytes(quotaBytes)}, ${Math.round((100 * figures.storedBytes) / quotaBytes)} % used`],
    ['free space', formatBytes(figures.freeBytes)],
    ['growth', forecast === null ? 'not known yet' : describeForecast(forecast)],
    ['scrub', describeScrub(scrub)],
    [
      'lost',
      lost.chunks === 0 ? 'nothing' : `${lost.chunks} chunks of ${lost.images.join(', ')}${lost.words ? `: ${lost.words.message}` : ''}`,
    ],
  ]);
}

function describeForecast({ bytesPerDay, fullAt }: NonNullable<StoreView['forecast']>): string {
  const growth = bytesPerDay < 0 ? `shrinks by ${formatBytes(-bytesPerDay)} a day` : `${formatBytes(bytesPerDay)} a day`;
  return fullAt === null ? growth : `${growth}: full on ${fullAt.slice(0, 10)} at this rate`;
}

function describeScrub({ current, last }: StoreView['scrub']): string {
  const ended = last === null ? 'no pass completed' : `last pass ended ${last.endedAt}, ${last.damages} damaged of ${last.chunks} chunks`;
  return current === null ? ended : `${ended}; under way since ${current.startedAt}, ${formatBytes(current.bytes)} read`;
}

async function gc(frame: Frame, options: GcOptions): Promise<void> {
  const graceMs = options.graceHours === undefined ? undefined : options.graceHours * 3_600_000;
  const dryRun = options.dryRun ?? false;
  const report = await runLongWork<GcReport & { dryRun: boolean; spare?: SpareImage[] }>(frame, 'gc', { kind: 'gc', dryRun, graceMs });
  frame.print({ ...report }, () =>
    details([
      [dryRun ? 'would free' : 'freed', `${formatBytes(report.freedBytes)} in ${report.freedChunks} chunks`],
      ['kept', formatBytes(report.keptBytes)],
      ['packs rewritten', report.rewrittenPacks],
      ...(report.waitMs === undefined
        ? []
        : ([['waits', `${Math.ceil(report.waitMs / 3_600_000)} h: the clock jumped, and ages mean nothing`]] as const)),
      ...(report.spare ?? []).map((image) => ['could go too', `${image.reference}, ${formatBytes(image.bytes)}: ${image.how}`] as const),
    ]),
  );
}
