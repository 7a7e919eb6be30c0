import { join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import { printable } from '../../core/ids.ts';
import { LOG_FILE } from '../../server/log.ts';
import { type LogFilter, type LogLine, matches, parseLine, readLog } from '../../server/read-log.ts';
import { readServerId } from '../../server/server-id.ts';
import type { Client } from '../client.ts';
import { followFile } from '../follow-file.ts';
import type { Frame } from '../frame.ts';
import { cleanText } from '../output.ts';
import { wholeNumber } from '../parse.ts';

type Options = { follow?: boolean; order?: string; run?: string; target?: string; since?: string; server?: string; lines: number };

export function register(program: Command, frame: Frame): void {
  program
    .command('logs')
    .description('the log, of one order or target where asked')
    .option('--follow', 'keep printing new lines until interrupted (under --json one document per line)')
    .option('--order <id>', 'only lines about this order')
    .option('--run <id>', 'only lines about this replication run')
    .option('--target <target>', 'only lines about this target: id, name, UUID or MAC')
    .option('--since <time>', 'only lines written then or later: 2h, 3d, or an ISO 8601 time', sinceTime)
    .option('--server <server>', 'of a server below this one, fetched from there (at most 1,000 lines)')
    .option('--lines <n>', 'how many of the newest lines', wholeNumber, 200)
    .addHelpText(
      'after',
      '\nWorks with the server up and down. Exit codes: 0 done, 66 no server in the directory, no such server, nothing in its log about what was asked for, 69 it does not answer',
    )
    .action(async (options: Options) =>
      frame.url === undefined && options.server === undefined ? fromFiles(frame, options) : fromServer(frame, options),
    );
}

async function fromFiles(frame: Frame, options: Options): Promise<void> {
  await readServerId(frame.dataDir);
  const filter: LogFilter = {
    orderId: options.order,
    runId: options.run,
    since: options.since === undefined ? undefined : Date.parse(options.since),
    target: options.target === undefined ? undefined : await marksOf(frame, options.target),
  };
  if (!options.follow) {
    const read = (since: LogFilter['since'], lines: number) => readLog(frame.dataDir, { ...filter, since }, lines);
    const lines = options.lines === 0 ? [] : await read(filter.since, options.lines);
    if (lines.length === 0 && (await read(undefined, 1)).length === 0) await refuseUnknown(frame, options);
    printAll(frame, lines);
    return;
  }
  const write = (line: LogLine) => frame.stdout.write(`${frame.json ? JSON.stringify(line) : readable(line)}\n`);
  const readerGone = new AbortController();
  frame.stdout.once('error', () => readerGone.abort());
  const ended = AbortSignal.any([frame.signal, readerGone.signal]);
  const follower = await followFile(join(frame.dataDir, 'log', LOG_FILE), ended, (text) => {
    const line = parseLine(text);
    if (line !== undefined && matches(line, filter)) write(line);
  });
  for (const line of options.lines === 0 ? [] : await readLog(frame.dataDir, filter, options.lines)) write(line);
  await follower();
}

async function fromServer(frame: Frame, options: Options): Promise<void> {
  if (options.follow)
    throw new AppError('usage', 'logs --follow reads the files of a data directory', { hint: 'use it on the server with --data' });
  const client = await frame.connect();
  const read = async (keys: readonly ('order' | 'run' | 'target' | 'since' | 'server')[], lines: number) => {
    const query = new URLSearchParams({ limit: String(Math.max(1, lines)) });
    for (const key of keys) if (options[key] !== undefined) query.set(key, options[key]);
    return (await client.get<{ items: LogLine[] }>(`/api/v1/logs?${query}`)).items;
  };
  const lines = await read(['order', 'run', 'target', 'since', 'server'], options.lines);
  if (lines.length === 0 && (await read(['order', 'run', 'target', 'server'], 1)).length === 0) await refuseUnknown(frame, options);
  printAll(frame, lines);
}

/** Throws `not_found` for an order, a run or a target of which no line tells, unless the server knows it all the same. */
async function refuseUnknown(frame: Frame, options: Options): Promise<void> {
  const things = (['order', 'run', 'target'] as const).flatMap((kind) =>
    options[kind] === undefined ? [] : [{ kind, id: options[kind] }],
  );
  for (const { kind, id } of things) {
    if (
      options.server === undefined &&
      (await frame.isServerUp()) &&
      (await isKnown(await frame.connect(), `/api/v1/${kind}s/${encodeURIComponent(id)}`))
    )
      continue;
    throw new AppError('not_found', `the log has no line about ${kind} ${printable(id)}`, { hint: HINTS[kind] });
  }
}

const HINTS = { order: '"order list" shows the orders', run: '"sync history" shows the runs', target: '"target list" shows the targets' };

async function isKnown(client: Client, path: string): Promise<boolean> {
  try {
    await client.get(path);
    return true;
  } catch (error) {
    // What is no id at all is known to nobody either.
    if (error instanceof AppError && ['not_found', 'usage'].includes(error.code)) return false;
    throw error;
  }
}

/** What lines may call this target: the word itself, and its id when a server is there to ask. */
async function marksOf(frame: Frame, target: string): Promise<readonly string[]> {
  const word = target.toLowerCase();
  if (!(await frame.isServerUp())) return [word];
  try {
    const { id } = await (await frame.connect()).get<{ id: string }>(`/api/v1/targets/${encodeURIComponent(target)}`);
    return [word, id];
  } catch (error) {
    if (error instanceof AppError && error.code === 'not_found') return [word];
    throw error;
  }
}

function printAll(frame: Frame, lines: readonly LogLine[]): void {
  frame.print({ items: lines as unknown as Json, next: null }, () => lines.map(readable).join('\n'));
}

function readable({ time, level, event, ...fields }: LogLine): string {
  const rest = Object.entries(fields).map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  return cleanText([time, level.padEnd(5), event, ...rest].join(' '));
}

/** `30m`, `2h`, `3d` before now, or a time; as ISO 8601. */
function sinceTime(text: string): string {
  const match = /^(\d{1,6})([mhd])$/.exec(text);
  const unit = { m: 60_000, h: 3_600_000, d: 86_400_000 }[match?.[2] ?? ''] ?? 0;
  const at = match === null ? Date.parse(text) : Date.now() - Number(match[1]) * unit;
  if (Number.isNaN(at)) throw new InvalidArgumentError('It must be a time like 30m, 2h, 3d or 2026-05-01T06:00:00Z.');
  return new Date(at).toISOString();
}
