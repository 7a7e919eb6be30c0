import { join } from 'node:path';
import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import { LOG_FILE } from '../../server/log.ts';
import { type LogFilter, type LogLine, matches, parseLine, readLog } from '../../server/read-log.ts';
import { readServerId } from '../../server/server-id.ts';
import { followFile } from '../follow-file.ts';
import type { Frame } from '../frame.ts';
import { cleanText } from '../output.ts';
import { wholeNumber } from '../parse.ts';

type Options = { follow?: boolean; order?: string; run?: string; target?: string; lines: number };

export function register(program: Command, frame: Frame): void {
  program
    .command('logs')
    .description('the log, of one order or target where asked')
    .option('--follow', 'keep printing new lines until interrupted (under --json one document per line)')
    .option('--order <id>', 'only lines about this order')
    .option('--run <id>', 'only lines about this replication run')
    .option('--target <target>', 'only lines about this target: id, name, UUID or MAC')
    .option('--lines <n>', 'how many of the newest lines', wholeNumber, 200)
    .addHelpText('after', '\nWorks with the server up and down. Exit codes: 0 done, 66 no server in the directory')
    .action(async (options: Options) => (frame.url === undefined ? fromFiles(frame, options) : fromServer(frame, options)));
}

async function fromFiles(frame: Frame, options: Options): Promise<void> {
  await readServerId(frame.dataDir);
  const filter: LogFilter = {
    orderId: options.order,
    runId: options.run,
    target: options.target === undefined ? undefined : await marksOf(frame, options.target),
  };
  if (!options.follow) {
    printAll(frame, options.lines === 0 ? [] : await readLog(frame.dataDir, filter, options.lines));
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
  const query = new URLSearchParams({ limit: String(Math.max(1, options.lines)) });
  for (const key of ['order', 'run', 'target'] as const) if (options[key] !== undefined) query.set(key, options[key]);
  const client = await frame.connect();
  const { items } = await client.get<{ items: LogLine[] }>(`/api/v1/logs?${query}`);
  printAll(frame, items);
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
