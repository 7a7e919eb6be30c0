import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** A file of tests that should end and does not: what it says of itself when asked, so that its one hang in a thousand runs has a cause. */

const ASK = 'SIGUSR2';
const ANSWER_MS = 2_000;

/** What makes node write, when asked, a report of what is open: JSON under that name. It names no environment, which may hold secrets. */
export function reportArguments(directory: string, name: string): string[] {
  const file = [`--report-directory=${directory}`, `--report-filename=${name}`];
  return ['--report-on-signal', `--report-signal=${ASK}`, '--report-exclude-network', '--report-exclude-env', ...file];
}

/** Asks the process and gives what it holds open in lines; empty when it does not answer. */
export async function askWhatIsOpen(child: ChildProcess, report: string): Promise<string> {
  // False, not an error, when it has ended just now: an error here would end the runner, and with it the whole run.
  if (!child.kill(ASK)) return '';
  await sleep(ANSWER_MS);
  try {
    return describe(JSON.parse(readFileSync(report, 'utf8')) as Report);
  } catch {
    return ''; // too busy to answer, or gone
  }
}

type Endpoint = { readonly host?: string; readonly port?: number } | string | null | undefined;
type Handle = {
  readonly type: string;
  readonly is_active: boolean;
  readonly is_referenced?: boolean;
  readonly localEndpoint?: Endpoint;
  readonly remoteEndpoint?: Endpoint;
  readonly pid?: number;
  readonly fd?: number;
  readonly firesInMsFromNow?: number;
};
export type Report = { readonly libuv: readonly Handle[]; readonly workers?: readonly Report[] };

/** Of a report of node, what keeps the process alive, a line each, workers' too. */
export function describe(report: Report): string {
  const open = report.libuv.filter((handle) => handle.is_active && handle.is_referenced);
  const workers = (report.workers ?? []).map((worker) => `worker: ${describe(worker).replaceAll('\n', ', ')}`);
  return [...open.map(describeHandle), ...workers].join('\n');
}

function describeHandle({ type, localEndpoint, remoteEndpoint, pid, fd, firesInMsFromNow }: Handle): string {
  if (pid !== undefined) return `process ${pid}: ${commandOf(pid)}`;
  if (firesInMsFromNow !== undefined) return `timer in ${firesInMsFromNow} ms`;
  const ends = localEndpoint || remoteEndpoint ? ` ${shown(localEndpoint)} to ${shown(remoteEndpoint)}` : '';
  return `${type}${fd === undefined ? '' : ` ${fd}`}${ends}`;
}

function shown(end: Endpoint): string {
  return typeof end === 'object' && end !== null ? `${end.host}:${end.port}` : (end ?? 'nobody');
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim().slice(0, 200) || 'ended, not waited for';
  } catch {
    return 'gone';
  }
}
