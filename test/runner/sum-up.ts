import type { Counts, Line } from './reporter.ts';

export type Problem = { readonly title: string; readonly text: string };

/** How a file's process ended; `open` is what it held open when its time was over, if it was. */
export type Ended = { readonly code: number | null; readonly output: string; readonly open: string | undefined };

export const NO_COUNTS: Counts = { tests: 0, suites: 0, passed: 0, failed: 0, cancelled: 0, skipped: 0, todo: 0 };

/** The lines of the reporter in `report`, as far as they are whole. */
export function readLines(report: string): Line[] {
  return report.split('\n').flatMap((raw) => {
    try {
      return raw === '' ? [] : [JSON.parse(raw) as Line];
    } catch {
      return []; // the last one of a process that was stopped
    }
  });
}

/** Counts and problems of one file. */
export function sumUp(
  path: string,
  lines: readonly Line[],
  { code, output, open }: Ended,
): { readonly counts: Counts; readonly problems: Problem[] } {
  const problems: Problem[] = [];
  let total: Counts | undefined;
  for (const line of lines) {
    if (line.kind === 'total') total = line.counts;
    else if ('text' in line) problems.push({ title: `${line.kind}: ${line.name} (${line.where})`, text: line.text });
  }
  if (open !== undefined) problems.push({ title: `${path} did not end in its time`, text: `${atWork(lines)}\nopen:\n${open}` });
  else if (total === undefined) problems.push({ title: `${path} ended with ${code} before its summary`, text: atWork(lines) });
  else if (code !== 0 && problems.length === 0) problems.push({ title: `${path} ended with ${code}`, text: '' });
  if (problems.length > 0 && output !== '') problems.push({ title: `output of ${path} (its end)`, text: output });
  const counts = total ?? { ...NO_COUNTS, tests: 1, failed: 1 };
  if (problems.length > 0 && counts.failed + counts.cancelled + counts.skipped + counts.todo === 0)
    return { counts: { ...counts, failed: 1 }, problems };
  return { counts, problems };
}

/** Which test had begun and not ended; if none, it is a hook, or what the tests left open. */
function atWork(lines: readonly Line[]): string {
  const open = new Set<string>();
  let ended = 0;
  for (const line of lines) {
    if (line.kind === 'begun') open.add(`${line.where} ${line.name}`);
    if (line.kind === 'ended' && open.delete(`${line.where} ${line.name}`)) ended += 1;
  }
  const names = [...open].join(', ');
  return `${ended} tests had ended; at work: ${names || 'none of them, so a hook, or what they left open'}`;
}
