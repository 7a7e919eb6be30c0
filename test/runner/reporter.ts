import { relative } from 'node:path';
import { inspect } from 'node:util';

/**
 * A reporter for a test file that writes one JSON document per line, for run-file.ts: failures and oddities with
 * their words, which test is at work, and the file's counts.
 */
type Event = { readonly type: string; readonly data: Record<string, unknown> };

export type Counts = {
  readonly tests: number;
  readonly suites: number;
  readonly passed: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly skipped: number;
  readonly todo: number;
};

export type Line =
  | { readonly kind: 'failure' | 'skip' | 'todo'; readonly name: string; readonly where: string; readonly text: string }
  | { readonly kind: 'begun' | 'ended'; readonly name: string; readonly where: string }
  | { readonly kind: 'total'; readonly counts: Counts };

const ERROR_LIMIT = 6_000;

export default async function* report(source: AsyncIterable<Event>): AsyncGenerator<string> {
  for await (const event of source) {
    for (const line of linesOf(event)) yield `${JSON.stringify(line)}\n`;
  }
}

function* linesOf({ type, data }: Event): Generator<Line> {
  if (type === 'test:summary') yield { kind: 'total', counts: data['counts'] as Counts };
  const name = text(data['name']);
  const where = `${relative(process.cwd(), text(data['file']))}:${text(data['line'])}`;
  if (type === 'test:dequeue') yield { kind: 'begun', name, where };
  if (type === 'test:complete') yield { kind: 'ended', name, where };
  if (type !== 'test:pass' && type !== 'test:fail') return;
  if (data['skip'] !== undefined) yield { kind: 'skip', name, where, text: text(data['skip']) };
  else if (data['todo'] !== undefined) yield { kind: 'todo', name, where, text: text(data['todo']) };
  else if (type === 'test:fail' && !isOnlyItsChildren(data)) yield { kind: 'failure', name, where, text: errorText(data) };
}

/** A suite or file that failed because a test in it did: that test speaks for itself. */
function isOnlyItsChildren(data: Record<string, unknown>): boolean {
  const error = (data['details'] as { error?: { failureType?: string } } | undefined)?.error;
  return error?.failureType === 'subtestsFailed';
}

function errorText(data: Record<string, unknown>): string {
  const error = (data['details'] as { error?: { cause?: unknown } } | undefined)?.error;
  const words = inspect(error?.cause ?? error, { depth: 4, maxArrayLength: 20, maxStringLength: 2_000 });
  return words.length > ERROR_LIMIT ? `${words.slice(0, ERROR_LIMIT)}\n… ${words.length - ERROR_LIMIT} characters more` : words;
}

function text(value: unknown): string {
  return value === undefined || value === null ? '' : String(value);
}
