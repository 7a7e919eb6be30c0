import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import { type ErrorCode, runExitCode } from '../../core/errors.ts';
import { isRunEnded, type RunState } from '../../core/run.ts';
import type { RunView } from '../../server/replication/view.ts';
import { type SharedView, sharedWords } from '../../server/shared/view.ts';
import type { Site } from '../../server/site.ts';
import type { Client } from '../client.ts';
import type { Frame } from '../frame.ts';
import { details, formatBytes, table } from '../output.ts';
import { wholeNumber } from '../parse.ts';
import { alarmText, type Holdings, holdingsText, registerSites } from './sync-holdings.ts';
import { findLink, linkText, onlyLink, registerLink } from './sync-link.ts';
import { registerScope } from './sync-scope.ts';

const EXITS = `
Exit codes: 0 done, also with nothing new, 1 failed or partial, 66 no parent, 69 parent unreachable or (all but run) no server up,
75 a run is in progress, the window is shut or the disk is full, 76 the parent speaks another version, 77 authentication refused,
78 rsync is missing, 79 not permitted, 80 a signature is wrong, 81 a hash is wrong or the catalogue went back, 82 expired, 83 paused`;

export function register(program: Command, frame: Frame): void {
  const sync = program.command('sync').description('replication from the parent').addHelpText('after', EXITS);
  sync
    .command('run')
    .description('replicate now; works with the server up and down')
    .option('--wait', 'follow it to its end (always, when no server is up)')
    .option('--in-window', 'keep to the windows of the schedule (75 while they are shut)')
    .action((options: { wait?: boolean; inWindow?: boolean }) => run(frame, options));
  sync
    .command('status')
    .description('the link, its next run, the run in progress or the last one, and what is held of each image')
    .action(() => status(frame));
  sync
    .command('history')
    .description('runs, newest first')
    .option('--limit <n>', 'at most so many (default 50)', wholeNumber)
    .option('--before <id>', 'those before this one: the "next" of the page before')
    .action((options: { limit?: number; before?: string }) => history(frame, options));
  registerScope(sync, frame);
  registerSites(sync, frame);
  registerLink(sync, frame);
}

async function run(frame: Frame, { wait = false, inWindow = false }: { wait?: boolean; inWindow?: boolean }): Promise<void> {
  const reached = await frame.reach();
  if (reached.kind === 'site') return finish(frame, await runOffline(frame, reached.site, inWindow));
  const started = await reached.client.post<RunView>('/api/v1/runs', { inWindow });
  if (!wait) return printRun(frame, started);
  frame.say(`run ${started.id}`);
  await finish(frame, await follow(frame, reached.client, started));
}

async function runOffline(frame: Frame, site: Site, inWindow: boolean): Promise<RunView> {
  const { runOnce } = await import('../../server/replication.ts');
  const { viewRun } = await import('../../server/replication/view.ts');
  const { listRuns } = await import('../../server/db/runs.ts');
  const bar = frame.progress('replication');
  const ended = new AbortController();
  const watch = async () => {
    while (!ended.signal.aborted) {
      await site.wake.wait('runs', 1000, ended.signal);
      const [newest] = ended.signal.aborted ? [] : await listRuns(site.db, { limit: 1 });
      if (newest?.progress) bar.update(newest.progress);
    }
  };
  const watching = watch();
  try {
    const run = await runOnce(site, { trigger: 'command', inWindow, signal: frame.signal });
    if (run.state === 'done') bar.finish();
    return viewRun(run);
  } finally {
    ended.abort();
    await watching;
    bar.stop();
    await site.close();
  }
}

/** Asks for each change until the run has ended; shows a bar on a terminal. */
async function follow(frame: Frame, client: Client, started: RunView): Promise<RunView> {
  const bar = frame.progress('replication');
  let seen = started;
  try {
    // A run with an error that has not ended waits: for space longer than a person would, for the link a while.
    const isWaiting = ({ error }: RunView) => error !== null && error.code !== 'unreachable';
    while (!isRunEnded(seen.state as RunState) && !isWaiting(seen) && !frame.signal.aborted) {
      if (seen.progress !== null) bar.update(seen.progress);
      seen = await client.get<RunView>(`/api/v1/runs/${encodeURIComponent(seen.id)}?follow=true`);
    }
    if (seen.state === 'done') bar.finish();
  } finally {
    bar.stop();
  }
  if (!isRunEnded(seen.state as RunState) && frame.signal.aborted) {
    frame.say('the run goes on in the server ("waystation sync status" shows it, "waystation sync pause" stops it)');
  }
  return seen;
}

async function finish(frame: Frame, ended: RunView): Promise<void> {
  printRun(frame, ended);
  const code = outcomeOf(ended);
  if (code !== undefined) frame.setOutcome(runExitCode(code));
}

/** A failed run ends the command with the exit code of what went wrong. */
function outcomeOf({ state, error }: RunView): ErrorCode | undefined {
  if (state === 'failed' || (error !== null && !isRunEnded(state as RunState))) return error?.code ?? 'failed';
  if (state !== 'partial') return undefined;
  // Paused by the parent says so, as paused here does; other parts of a run are work that is not complete.
  return error?.code === 'disabled' ? 'disabled' : 'partial';
}

async function status(frame: Frame): Promise<void> {
  const client = await frame.connect();
  const shared = await client.get<SharedView>('/api/v1/shared');
  // A server that stands above all others has a database to tell of, and no link.
  const link = shared.database === null ? await onlyLink(client) : await findLink(client);
  const { items } = await client.get<{ items: RunView[] }>('/api/v1/runs?limit=1');
  const last = items[0] ?? null;
  const holdings = await client.get<Omit<Holdings, 'children'>>('/api/v1/holdings?children=false');
  const { items: images, alarm } = holdings;
  frame.print({ link, run: last, images, alarm, shared } as unknown as Json, () =>
    [alarmText(alarm), sharedWords(shared), link && linkText(link), last === null ? 'no run yet' : runText(last), holdingsText(images)]
      .filter((text) => text)
      .join('\n'),
  );
}

async function history(frame: Frame, options: { limit?: number; before?: string }): Promise<void> {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(options)) query.set(key, String(value));
  const page = await (await frame.connect()).get<{ items: RunView[]; next: string | null }>(`/api/v1/runs?${query}`);
  frame.print(page as unknown as Json, () =>
    table(
      ['RUN', 'STATE', 'TRIGGER', 'STARTED', 'ENDED', 'RECEIVED', 'BY RSYNC', 'SENT', 'REQUESTS', 'ERROR'],
      page.items.map((item) => [
        ...[item.id, item.state, item.trigger, item.startedAt, item.endedAt, formatBytes(item.bytesReceived)],
        ...[formatBytes(item.bytesRsync), formatBytes(item.bytesSent), item.requests, item.error?.message ?? null],
      ]),
    ),
  );
}

function printRun(frame: Frame, view: RunView): void {
  frame.print(view as unknown as Json, () => runText(view));
}

function sourcesText({ sources }: RunView): string {
  return sources.map(({ name, bytesRsync }) => `${formatBytes(bytesRsync)} from ${name}`).join(', ');
}

function stateText({ state, error }: RunView): string {
  return error === null || isRunEnded(state as RunState) ? state : `${state}, waiting: it goes on by itself when the server is up`;
}

function runText(view: RunView): string {
  const { progress, error } = view;
  const eta = progress?.etaSeconds === null || progress === null ? '' : `, about ${progress.etaSeconds} s left`;
  return details([
    ['run', view.id],
    ['state', progress === null ? stateText(view) : `${view.state}, ${progress.percent} %${eta}`],
    ['trigger', view.trigger],
    ['received', `${formatBytes(view.bytesReceived)}, ${formatBytes(view.bytesRsync)} of it by rsync`],
    ...(view.sources.length > 1 ? ([['by rsync', sourcesText(view)]] as const) : []),
    ['sent', `${formatBytes(view.bytesSent)} in ${view.requests} requests`],
    ['started', view.startedAt],
    ['ended', view.endedAt],
    ...(error === null ? [] : ([['error', error.hint === undefined ? error.message : `${error.message} (${error.hint})`]] as const)),
  ]);
}
