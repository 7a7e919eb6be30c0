import type { Json } from '../core/canonical-json.ts';
import type { Frame } from './frame.ts';
import { details, formatBytes } from './output.ts';

export type ReportView = {
  readonly [key: string]: Json;
  readonly packs: number;
  readonly frames: number;
  readonly chunks: number;
  readonly bytes: number;
  readonly clean: boolean;
  readonly damages: readonly Damage[];
  /** Of a repair: what there was, how many chunks were fetched again, and why something stays lost. */
  readonly found?: readonly Damage[];
  readonly healed?: number;
  readonly words?: { readonly message: string; readonly hint?: string } | null;
};

type Damage = { readonly what: string; readonly where: string; readonly digest?: string };

const SHOWN_DAMAGES = 50;

/** Prints what a check read and what it found; damage makes the exit code 1, with the whole list under --json. */
export function printReport(frame: Frame, report: ReportView): void {
  frame.print(report, () => [summary(report), ...damageLines(report)].join('\n'));
  if (!report.clean) frame.setOutcome('corrupt');
}

function summary(report: ReportView): string {
  return details([
    ['read', `${formatBytes(report.bytes)} in ${report.chunks} chunks, ${report.frames} frames, ${report.packs} packs`],
    ...(report.found === undefined ? [] : ([['found damaged', report.found.length]] as const)),
    ...(report.healed === undefined ? [] : ([['fetched again', `${report.healed} chunks`]] as const)),
    ['damaged', report.damages.length],
    ...(report.words
      ? ([['because', report.words.hint ? `${report.words.message} (${report.words.hint})` : report.words.message]] as const)
      : []),
  ]);
}

function damageLines({ damages }: ReportView): string[] {
  const lines = damages.slice(0, SHOWN_DAMAGES).map(({ what, where, digest }) => {
    // Where may be a sentence that names what and digest already.
    const head = where.startsWith(`${what} `) ? where : `${what} ${where}`;
    return `  ${head}${digest && !head.includes(digest) ? ` ${digest}` : ''}`;
  });
  return damages.length > SHOWN_DAMAGES ? [...lines, `  and ${damages.length - SHOWN_DAMAGES} more`] : lines;
}
