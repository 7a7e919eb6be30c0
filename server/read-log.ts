import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { LOG_FILE } from './log.ts';

export type LogLine = { readonly time: string; readonly level: string; readonly event: string; readonly [field: string]: unknown };

export type LogFilter = {
  readonly orderId?: string | undefined;
  readonly runId?: string | undefined;
  /** Any of a target's marks: id, name, MAC, UUID; a line that names one of them is kept. */
  readonly target?: readonly string[] | undefined;
  /** Epoch ms: only lines written then or later. */
  readonly since?: number | undefined;
};

/** The newest lines that pass the filter, at most `limit`, oldest first; from the rotated files of DIR/log. */
export async function readLog(dataDir: string, filter: LogFilter, limit: number): Promise<readonly LogLine[]> {
  const kept: LogLine[] = [];
  for (const path of await logFiles(dataDir)) {
    for await (const text of createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY })) {
      const line = parseLine(text);
      if (line === undefined || !matches(line, filter)) continue;
      kept.push(line);
      if (kept.length > limit * 2) kept.splice(0, kept.length - limit);
    }
  }
  return kept.slice(-limit);
}

/** The files, oldest first: winston calls the newest waystation.log and numbers the older ones upwards. */
async function logFiles(dataDir: string): Promise<readonly string[]> {
  const directory = join(dataDir, 'log');
  const [stem, extension] = LOG_FILE.split('.') as [string, string];
  const pattern = new RegExp(`^${stem}(\\d*)\\.${extension}$`);
  const numbered = (await entriesOf(directory)).flatMap((name) => {
    const match = pattern.exec(name);
    return match === null ? [] : [{ name, age: Number(match[1] || 0) }];
  });
  return numbered.sort((a, b) => b.age - a.age).map(({ name }) => join(directory, name));
}

async function entriesOf(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** One line of a log file; undefined for a line that a crash cut short. */
export function parseLine(text: string): LogLine | undefined {
  try {
    const line = JSON.parse(text) as LogLine;
    return typeof line === 'object' && line !== null ? line : undefined;
  } catch {
    // The last line of a file may have been cut by a crash: it is no event.
    return undefined;
  }
}

export function matches(line: LogLine, { orderId, runId, target, since }: LogFilter): boolean {
  if (since !== undefined && !(Date.parse(line.time) >= since)) return false;
  if (orderId !== undefined && line['orderId'] !== orderId) return false;
  if (runId !== undefined && line['runId'] !== runId) return false;
  if (target === undefined) return true;
  return ['targetId', 'target', 'targetName', 'mac', 'uuid'].some((field) => target.includes(String(line[field] ?? '').toLowerCase()));
}
