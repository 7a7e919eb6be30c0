import type { Knex } from 'knex';
import type { Json } from '../../core/canonical-json.ts';
import { AppError, type ErrorCode } from '../../core/errors.ts';
import { type Digest, type Id, newIdAfter } from '../../core/ids.ts';
import type { Progress } from '../../core/progress.ts';
import { isRunEnded, RUN_STATES, type RunState } from '../../core/run.ts';
import { parsePlan, type RunPlan } from '../../sync/replicate/plan.ts';

/**
 * `catch-up`: it was due and could not start then; `chain`: the run before was still going; `resume`: a pause had ended it;
 * `repair`: damaged chunks; `parent`: the parent has published.
 */
export type RunTrigger = 'schedule' | 'command' | 'catch-up' | 'chain' | 'resume' | 'repair' | 'parent';

/** One execution of a link. Byte counts are of the TLS sockets of this run, all its attempts together. */
export type Run = {
  readonly id: Id;
  readonly linkId: Id;
  readonly state: RunState;
  readonly trigger: RunTrigger;
  readonly fencing: number;
  /** It keeps to the link's windows: a person's run does so only when asked. */
  readonly inWindow: boolean;
  readonly epoch: number;
  readonly generation: number;
  /** sync's own document (sync/replicate/plan.ts). */
  readonly plan: Json;
  readonly bytesNeeded: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly bytesRsync: number;
  readonly requests: number;
  readonly startedAt: number;
  readonly endedAt: number | null;
  readonly error: { readonly code: ErrorCode; readonly message: string; readonly hint?: string } | null;
  readonly progress: Progress | null;
  /** Which servers gave how much; the total is above. */
  readonly sources: readonly GivenBytes[];
};

/** A run without its plan, which may be megabytes: the objects of a whole catalogue are in it. */
export type RunHead = Omit<Run, 'plan'>;

/** What one server gave in a run. */
export type GivenBytes = { readonly server: Id; readonly name: string; readonly bytesReceived: number; readonly bytesRsync: number };

export type RunPatch = Partial<Omit<Run, 'id' | 'linkId' | 'trigger' | 'fencing' | 'inWindow' | 'startedAt'>>;

type RunRow = Record<string, string | number | null>;

const COLUMNS = {
  state: 'state',
  epoch: 'epoch',
  generation: 'generation',
  plan: 'plan',
  bytesNeeded: 'bytes_needed',
  bytesReceived: 'bytes_received',
  bytesSent: 'bytes_sent',
  bytesRsync: 'bytes_rsync',
  requests: 'requests',
  endedAt: 'ended_at',
  error: 'error',
  progress: 'progress',
  sources: 'sources',
} as const satisfies { [Key in keyof RunPatch]-?: string };

const HEAD = ['id', 'link_id', 'trigger', 'fencing', 'in_window', 'started_at', ...Object.values(COLUMNS)].filter(
  (name) => name !== 'plan',
);
const DOCUMENTS: readonly string[] = ['plan', 'error', 'progress', 'sources'];
const ENDED = RUN_STATES.filter(isRunEnded);

export type NewRun = Pick<Run, 'id' | 'linkId' | 'state' | 'trigger' | 'fencing' | 'startedAt'> & {
  readonly inWindow?: boolean;
  readonly plan?: RunPlan;
};

/** An id for the next run. Runs are ordered by id: it is above those that are there, whatever the clock says. */
export async function nextRunId(db: Knex, now: number): Promise<Id> {
  const newest = await db<RunRow>('runs').orderBy('id', 'desc').first('id');
  return newIdAfter(newest?.id as Id | undefined, now);
}

export async function insertRun(db: Knex, run: NewRun): Promise<void> {
  await db('runs').insert({
    id: run.id,
    link_id: run.linkId,
    state: run.state,
    trigger: run.trigger,
    fencing: run.fencing,
    in_window: run.inWindow ?? false,
    started_at: run.startedAt,
    plan: run.plan === undefined ? null : JSON.stringify(run.plan),
  });
}

/**
 * Takes over the unfinished run of a link under a newer fencing number, or gives undefined when there is
 * none. From then on every update of an older holder changes no row.
 */
export async function adoptRun(db: Knex, linkId: Id, fencing: number): Promise<Run | undefined> {
  const run = await findUnfinishedRun(db, linkId);
  if (run === undefined) return undefined;
  const changed = await db('runs').where({ id: run.id }).where('fencing', '<', fencing).update({ fencing });
  if (changed !== 1) throw lostRun(run.id);
  return getRun(db, run.id);
}

/** Ends what runs of a link have not ended: there is nobody to ask any more. */
export async function endRuns(trx: Knex.Transaction, linkId: Id, { at, error }: { at: number; error: Run['error'] }): Promise<void> {
  await trx('runs')
    .where({ link_id: linkId })
    .whereNotIn('state', ENDED)
    .update({ state: 'failed', ended_at: at, error: JSON.stringify(error) });
}

/** Lets the unfinished run of a link begin anew, with another parent; who works on it holds an older fencing number and loses it. */
export async function restartRuns(trx: Knex.Transaction, linkId: Id, fencing: number): Promise<void> {
  await trx('runs')
    .where({ link_id: linkId })
    .whereNotIn('state', ENDED)
    .update({ state: 'waiting-parent', plan: null, progress: null, error: null, fencing });
}

/** The run of a link that has not ended; there is at most one. */
export async function findUnfinishedRun(db: Knex, linkId: Id): Promise<RunHead | undefined> {
  const row: RunRow | undefined = await db('runs')
    .where({ link_id: linkId })
    .whereNotIn('state', ENDED)
    .orderBy('id')
    .first(...HEAD);
  return row && toHead(row);
}

/** What a run has decided so far; null when that is nothing, or there is no such run. */
export async function getPlan(db: Knex, id: Id): Promise<Json> {
  const row = await db<RunRow>('runs').where({ id }).first('plan');
  return row === undefined ? null : documentOf(row, 'plan');
}

/**
 * Changes a run that is in the state and under the fencing number that the caller expects.
 * Throws `run_in_progress` when another process has taken the run over.
 */
export async function updateRun(db: Knex, expected: { id: Id; state: RunState; fencing: number }, patch: RunPatch): Promise<void> {
  const row: RunRow = {};
  for (const [key, column] of Object.entries(COLUMNS)) {
    const value = patch[key as keyof RunPatch];
    if (value !== undefined) row[column] = DOCUMENTS.includes(column) ? toDocument(value) : (value as string | number | null);
  }
  if (Object.keys(row).length === 0) return;
  const changed = await db('runs').where(expected).update(row);
  if (changed === 1) return;
  // MySQL counts rows that changed, not rows that matched: an update to the values that are there is looked up.
  const same = { ...expected, state: patch.state ?? expected.state };
  if ((await db('runs').where(same).first('id')) === undefined) throw lostRun(expected.id);
}

/** The plan of a link's newest ended run that has one, with the state it ended in: what an interrupted run has brought already. */
export async function findLastPlan(db: Knex, linkId: Id): Promise<{ readonly state: RunState; readonly plan: Json } | undefined> {
  const row = await db<RunRow>('runs')
    .where({ link_id: linkId })
    .whereIn('state', ENDED)
    .whereNotNull('plan')
    .orderBy('id', 'desc')
    .first();
  return row && toRun(row);
}

export async function getRun(db: Knex, id: Id): Promise<Run | undefined> {
  const row = await db<RunRow>('runs').where({ id }).first();
  return row && toRun(row);
}

/** Runs of all links, newest first, at most `limit` (default 50); with `before` those that started earlier. */
export async function listRuns(db: Knex, query: { linkId?: Id; before?: Id; limit?: number } = {}): Promise<RunHead[]> {
  const find = db('runs')
    .orderBy('id', 'desc')
    .limit(query.limit ?? 50);
  if (query.linkId !== undefined) find.where({ link_id: query.linkId });
  if (query.before !== undefined) find.where('id', '<', query.before);
  return ((await find.select(...HEAD)) as RunRow[]).map(toHead);
}

/**
 * Forgets the ended runs of a link but the newest `keep`: a schedule every few seconds must not fill the database.
 * What a run did stays in its event.
 */
export async function pruneRuns(db: Knex, linkId: Id, keep: number): Promise<void> {
  const ended = () => db<RunRow>('runs').where({ link_id: linkId }).whereIn('state', ENDED);
  const newestToGo = await ended().orderBy('id', 'desc').offset(keep).first('id');
  if (newestToGo !== undefined) await ended().where('id', '<=', newestToGo.id).delete();
}

/** Plans of a link that are kept whole: of the newest ended runs that have one. */
export const WHOLE_PLANS = 5;

/**
 * Takes the catalogue out of the plan that has just become older than the newest ones: nobody goes on from it, and with a
 * parent whose runs fail for weeks there would be a thousand copies. What it wanted stays, for `listRunManifests`.
 */
export async function slimOldPlan(db: Knex, linkId: Id): Promise<void> {
  const row = await db<RunRow>('runs')
    .where({ link_id: linkId })
    .whereIn('state', ENDED)
    .whereNotNull('plan')
    .orderBy('id', 'desc')
    .offset(WHOLE_PLANS)
    .first('id', 'plan');
  const plan = row && (documentOf(row, 'plan') as { readonly [key: string]: Json });
  if (row && plan?.['catalogue'])
    await db('runs')
      .where({ id: row.id })
      .update({ plan: JSON.stringify({ ...plan, catalogue: null }) });
}

/**
 * Manifests that runs work on: what each wants and what it builds on, of every run since the last one of its link that
 * ended `done`. One that ended earlier left its chunks here for the next, which may come nights later. A repair that is
 * done says nothing about them.
 */
export async function listRunManifests(db: Knex): Promise<Digest[]> {
  const runs = await db<RunRow>('runs').whereNot({ state: 'done' }).whereNotNull('plan').select('id', 'link_id', 'plan');
  const done = await db<RunRow>('runs')
    .where({ state: 'done' })
    .whereNot({ trigger: 'repair' })
    .groupBy('link_id')
    .select('link_id')
    .max({ id: 'id' });
  const lastDone = new Map((done as RunRow[]).map((row) => [row['link_id'], String(row['id'])]));
  const open = (runs as RunRow[]).filter((row) => String(row['id']) > (lastDone.get(row['link_id'] ?? '') ?? ''));
  const plans = open.map((row) => parsePlan(JSON.parse(String(row['plan'])))).filter((plan) => plan !== undefined);
  return [...new Set(plans.flatMap(({ wanted, want, have }) => [...wanted, ...want, ...have]))];
}

/** Ends every run that has not ended, in a database that was set back. Returns how many. */
export async function failUnfinishedRuns(trx: Knex, { error, at }: { error: NonNullable<Run['error']>; at: number }): Promise<number> {
  const change = { state: 'failed', error: JSON.stringify(error), ended_at: at, progress: null };
  return trx('runs').whereNotIn('state', ENDED).update(change);
}

function toDocument(value: unknown): string | null {
  return value === null ? null : JSON.stringify(value);
}

function documentOf(row: RunRow, column: string) {
  return row[column] === null ? null : JSON.parse(String(row[column]));
}

function toRun(row: RunRow): Run {
  return { ...toHead(row), plan: documentOf(row, 'plan') };
}

function toHead(row: RunRow): RunHead {
  const number = (column: string) => Number(row[column] ?? 0);
  return {
    id: row.id as Id,
    linkId: row.link_id as Id,
    state: row.state as RunState,
    trigger: row.trigger as RunTrigger,
    fencing: number('fencing'),
    inWindow: number('in_window') === 1,
    epoch: number('epoch'),
    generation: number('generation'),
    bytesNeeded: number('bytes_needed'),
    bytesReceived: number('bytes_received'),
    bytesSent: number('bytes_sent'),
    bytesRsync: number('bytes_rsync'),
    requests: number('requests'),
    startedAt: number('started_at'),
    endedAt: row.ended_at === null ? null : number('ended_at'),
    error: documentOf(row, 'error'),
    progress: documentOf(row, 'progress'),
    sources: documentOf(row, 'sources') ?? [],
  };
}

function lostRun(id: string): AppError {
  return new AppError('run_in_progress', `run ${id} was taken over by another process`, {
    hint: 'waystation sync status shows who goes on',
  });
}
