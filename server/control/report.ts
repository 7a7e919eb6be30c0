import { ReportAnswer, type ReportBatch } from '../../core/control-protocol.ts';
import { AppError } from '../../core/errors.ts';
import type { Mark } from '../db/reported.ts';
import type { Site } from '../site.ts';
import { alignEvents } from './align-events.ts';
import { readBatch } from './own-reports.ts';

/** What one request carries at most, so that it stays below the parent's limit for bodies (1 MiB) and its transactions short. */
const MOST_ITEMS = 200;
const MOST_BYTES = 500_000;
const MOST_BATCHES = 200;

/** Who is told: a parent over its connection, or a database in which servers meet. */
export type Listener = {
  /** How it is called in the log. */
  readonly name: string;
  /** The streams that it is told of, and how far each goes here. */
  streams(): Promise<readonly Mark[]>;
  /** True once when it may have fewer of our reports than we believe, although telling did not fail. */
  isDoubted(): boolean;
  /** Stores each batch that follows what it has, and answers a `ReportAnswer`: for each stream how far it is. */
  take(batches: readonly ReportBatch[], signal: AbortSignal): Promise<unknown>;
};

/** What we believe of one listener: how far it has each stream. It is asked first, so nothing of it is kept on disk. */
export type ReportState = { readonly marks: Map<string, number>; readonly refused: Set<string> };

export function freshReportState(): ReportState {
  return { marks: new Map(), refused: new Set() };
}

/**
 * One request of reports. The listener's answer is the truth about how far it is: a lost answer, a parent or a database that was
 * restored from a backup, a second sender all lead to the right next batch. Returns false when there was nothing to say.
 */
export async function reportOnce(site: Site, listener: Listener, state: ReportState, signal: AbortSignal): Promise<boolean> {
  const batches = await nextBatches(site, await listener.streams(), state);
  if (batches.length === 0) return false;
  const answer = ReportAnswer.safeParse(await listener.take(batches, signal));
  if (!answer.success) throw new AppError('version_mismatch', `${listener.name} answered our reports in a form that we cannot read`);
  let moved = false;
  for (const mark of answer.data.marks) {
    if (mark.stream === 'events' && mark.origin === site.self.id && mark.refused === undefined) await alignEvents(site, mark.seq);
    const key = keyOf(mark as Mark);
    if (mark.refused !== undefined && !state.refused.has(key)) {
      state.refused.add(key);
      site.log.warn(`${listener.name} refuses reports`, { origin: mark.origin, stream: mark.stream, words: mark.refused });
    }
    moved ||= state.marks.get(key) !== mark.seq;
    state.marks.set(key, mark.seq);
  }
  return moved;
}

async function nextBatches(site: Site, all: readonly Mark[], { marks, refused }: ReportState): Promise<ReportBatch[]> {
  const streams = all.filter((mark) => !refused.has(keyOf(mark)));
  const unknown = streams.filter((mark) => !marks.has(keyOf(mark)));
  if (unknown.length > 0) return unknown.slice(0, MOST_BATCHES).map(({ origin, stream }) => ({ origin, stream, after: 0, items: [] }));
  const batches: ReportBatch[] = [];
  let items = MOST_ITEMS;
  let bytes = MOST_BYTES;
  for (const mark of streams.filter((candidate) => candidate.seq > (marks.get(keyOf(candidate)) ?? 0))) {
    if (items <= 0 || bytes <= 0 || batches.length === MOST_BATCHES) break;
    const batch = cut(await readBatch(site, mark, marks.get(keyOf(mark)) ?? 0, items), bytes);
    if (batch.items.length === 0) continue;
    items -= batch.items.length;
    bytes -= JSON.stringify(batch.items).length;
    batches.push(batch);
  }
  return batches;
}

/** As many items as fit, one at least. */
function cut(batch: ReportBatch, bytes: number): ReportBatch {
  let room = bytes;
  const fits = batch.items.findIndex((item) => {
    room -= JSON.stringify(item).length;
    return room < 0;
  });
  return fits < 0 ? batch : ({ ...batch, items: batch.items.slice(0, Math.max(1, fits)) } as ReportBatch);
}

function keyOf({ origin, stream }: Omit<Mark, 'seq'>): string {
  return `${origin} ${stream}`;
}
