import type { Case } from '../sync-data.ts';

/** One method's way of bringing one case over the line. Octets are those of IP packets, both ends in seconds and bytes of memory. */
export type Measured = {
  readonly method: string;
  readonly on: Case | 'first' | 'nothing';
  readonly mbits: number;
  readonly downBytes: number;
  readonly upBytes: number;
  readonly seconds: number;
  readonly hqCpu: number;
  readonly branchCpu: number;
  readonly hqPeakBytes: number;
  readonly branchPeakBytes: number;
};

export type Level = {
  readonly what: string;
  readonly figure: number | undefined;
  readonly wanted: number;
  /** Whether the figure is to be at most or at least what is wanted. */
  readonly sense: 'most' | 'least';
};

export const OURS = 'Waystation';
export const COLD = 'Waystation, the archive not built before';
export const OFFLINE = 'Waystation, `sync run` without a server';
export const FULL = 'partclone + zstd -3, lftp (FOG)';
export const GET = 'the same file, HTTP GET';
export const PATCH = 'zstd -3 --long=31 --patch-from (reference)';
export const RSYNC_Z = 'rsync -z of the raw disk, in place';
export const CASYNC = 'casync extract, HTTP store, seed';
export const RSYNC_STORE = 'rsync -a of the casync store';

/** What a method did with a case; the bytes are the same at any rate, so any will do without `mbits`. */
export function find(all: readonly Measured[], method: string, on: Measured['on'], mbits?: number): Measured | undefined {
  return all.find((one) => one.method === method && one.on === on && (mbits === undefined || one.mbits === mbits));
}

/** The table of one case in Markdown: a line for each method in the order of first measurement. */
export function tableOf(all: readonly Measured[], on: Measured['on']): string {
  const methods = [...new Set(all.filter((one) => one.on === on).map(({ method }) => method))];
  const full = find(all, FULL, on, 50);
  const lines = methods.map((method) => {
    const fast = find(all, method, on, 50);
    const one = fast ?? find(all, method, on);
    if (one === undefined) return '';
    const cells = [
      method,
      megabytes(one.downBytes),
      megabytes(one.upBytes),
      secondsOf(find(all, method, on, 10)),
      secondsOf(fast),
      full === undefined || fast === undefined ? '' : `${(full.seconds / fast.seconds).toFixed(1)} ×`,
      `${one.hqCpu.toFixed(1)} / ${one.branchCpu.toFixed(1)}`,
      `${Math.round(one.hqPeakBytes / 1e6)} / ${Math.round(one.branchPeakBytes / 1e6)}`,
    ];
    return `| ${cells.join(' | ')} |`;
  });
  const head = 'method | MB down | MB up | s at 10 Mbit/s | s at 50 Mbit/s | faster than full | CPU s HQ / branch | peak MB HQ / branch';
  return [`| ${head} |`, `|---${'|--:'.repeat(7)}|`, ...lines].join('\n');
}

/** `| what | figure | wanted | met |`; a level without its measurements says so. */
export function levelTable(levels: readonly Level[]): string {
  const lines = levels.map(({ what, figure, wanted, sense }) => {
    const sign = sense === 'most' ? '≤' : '≥';
    const verdict = figure === undefined ? 'not measured' : isMet({ figure, wanted, sense }) ? 'met' : '**missed**';
    return `| ${what} | ${figure === undefined ? '' : short(figure)} | ${sign} ${short(wanted)} | ${verdict} |`;
  });
  return ['| level | measured | wanted | |', '|---|--:|--:|---|', ...lines].join('\n');
}

export function isMet({ figure, wanted, sense }: { figure: number; wanted: number; sense: Level['sense'] }): boolean {
  return sense === 'most' ? figure <= wanted : figure >= wanted;
}

/** The levels that follow from the measurements, as ratios. */
export function levelsOf(all: readonly Measured[]): Level[] {
  const bytes = (method: string, on: Measured['on']) => sum(find(all, method, on));
  const seconds = (method: string, on: Measured['on']) => find(all, method, on, 50)?.seconds;
  const most = (what: string, figure: number | undefined, wanted: number): Level => ({ what, figure, wanted, sense: 'most' });
  const least = (what: string, figure: number | undefined, wanted: number): Level => ({ what, figure, wanted, sense: 'least' });
  const cases = ['inplace', 'rebuilt', 'kernel'] as const;
  const rate = (one: Measured | undefined) => (one === undefined ? undefined : one.downBytes / one.seconds);
  return [
    ...cases.map((on) => most(`bytes of ${on} ÷ patch-from`, over(bytes(OURS, on), bytes(PATCH, on)), 1)),
    ...cases.map((on) => most(`bytes of ${on} ÷ casync`, over(bytes(OURS, on), bytes(CASYNC, on)), on === 'kernel' ? 0.45 : 0.4)),
    most('bytes of inplace ÷ rsync -z raw', over(bytes(OURS, 'inplace'), bytes(RSYNC_Z, 'inplace')), 0.4),
    most('bytes of the first replication ÷ partclone + zstd -3', over(bytes(OURS, 'first'), bytes(FULL, 'first')), 1.05),
    ...cases.map((on) =>
      least(`${on} at 50 Mbit/s, full re-send ÷ ours`, over(seconds(FULL, on), seconds(OURS, on)), on === 'kernel' ? 3.3 : 10),
    ),
    least(
      'link use of the first replication ÷ HTTP GET',
      over(rate(find(all, OURS, 'first', 50)), rate(find(all, GET, 'first', 50))),
      0.93,
    ),
    most('nothing new, running service: bytes', bytes(OURS, 'nothing'), 2048),
    least('nothing new, rsync -a of a chunk store ÷ ours', over(seconds(RSYNC_STORE, 'nothing'), seconds(OURS, 'nothing')), 20),
    most('nothing new, `sync run` without a server: bytes', bytes(OFFLINE, 'nothing'), 10_240),
  ];
}

function over(part: number | undefined, whole: number | undefined): number | undefined {
  return part === undefined || whole === undefined ? undefined : part / whole;
}

function sum(one: Measured | undefined): number | undefined {
  return one === undefined ? undefined : one.downBytes + one.upBytes;
}

function megabytes(bytes: number): string {
  return bytes < 1e5 ? (bytes / 1e6).toFixed(4) : (bytes / 1e6).toFixed(1);
}

function secondsOf(one: Measured | undefined): string {
  if (one === undefined) return '';
  return one.seconds < 1 ? one.seconds.toFixed(2) : one.seconds.toFixed(1);
}

function short(figure: number): string {
  return figure >= 100 ? String(Math.round(figure)) : String(Math.round(figure * 1000) / 1000);
}
