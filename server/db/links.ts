import type { Knex } from 'knex';
import { type Id, newId } from '../../core/ids.ts';
import type { Caps } from '../../core/schedule/caps.ts';
import type { LateWay, Obstacle } from '../../core/schedule/decide.ts';
import type { Windows } from '../../core/schedule/windows.ts';
import { FULL_SCOPE, type Scope } from '../../core/scope.ts';

/** Our relation to one parent: when we pull, and how far we came. */
export type Link = {
  readonly id: Id;
  readonly parentId: Id;
  /** Cron expression of five or six fields; null: only on command. */
  readonly schedule: string | null;
  /** IANA name, `Europe/Berlin`. */
  readonly timezone: string;
  readonly heldEpoch: number;
  readonly heldGeneration: number;
  /** What the parent told of that generation, to know it again; null when it told nothing. */
  readonly heldMark: string | null;
  /** Epoch ms of the next scheduled run; in the past when it was missed. */
  readonly dueAt: number | null;
  readonly lastRunAt: number | null;
  /** Of which images we fetch the content. */
  readonly scope: Scope;
  /** The servers above the parent, nearest first, as the parent told. */
  readonly ancestors: readonly Id[];
  /** Our ring, as the parent told; null: the last. */
  readonly ring: number | null;
  /** Whether a run starts when the parent has published. */
  readonly afterParent: boolean;
  /** Octets per second of the last good transfer from the parent. */
  readonly rateBytes: number | null;
  readonly windows: Windows;
  readonly late: LateWay;
  readonly caps: Caps;
  readonly paused: Pause | null;
  /** A run that was due and could not start: since when, and why. */
  readonly owed: { readonly since: number; readonly why: Obstacle } | null;
  /** What the parent last said that we lack; null when that is nothing, or was never asked. */
  readonly forecast: Lacking | null;
};

/** Who paused it, `local-admin` or `operator:<id>`, and when. */
export type Pause = { readonly at: number; readonly by: string };

/** Bytes still to fetch; `exact` when they are of an archive that is built. */
export type Lacking = { readonly bytes: number; readonly exact: boolean; readonly at: number };

type LinkRow = {
  id: string;
  parent_id: string;
  schedule: string | null;
  timezone: string;
  held_epoch: number | string;
  held_generation: number | string;
  held_mark: string | null;
  due_at: number | string | null;
  last_run_at: number | string | null;
  scope: string | null;
  ancestors: string | null;
  ring: number | null;
  after_parent: boolean | number;
  rate_bytes: number | string | null;
  may_start: string | null;
  must_stop: string | null;
  late: LateWay;
  cap_bps: number | string | null;
  office_hours: string | null;
  office_bps: number | string | null;
  paused_at: number | string | null;
  paused_by: string | null;
  owed_since: number | string | null;
  owed_why: Obstacle | null;
  forecast: string | null;
};

/** Makes the link to a parent, or gives the one that is there (a server that joins again keeps what it holds). */
export async function createLink(db: Knex, link: { parentId: Id; origin: Id; schedule?: string | null; timezone?: string }): Promise<Link> {
  const existing = await getLinkToParent(db, link.parentId);
  if (existing !== undefined) return existing;
  const id = newId();
  await db('links').insert({
    id,
    parent_id: link.parentId,
    schedule: link.schedule ?? null,
    timezone: link.timezone ?? 'UTC',
    origin: link.origin,
    revision: 1,
  });
  const made = await getLink(db, id);
  if (made === undefined) throw new Error(`link ${id} is not there after it was made`);
  return made;
}

/** Takes the link to a parent away; its id, or undefined when there is none. */
export async function removeLink(trx: Knex.Transaction, parentId: Id): Promise<Id | undefined> {
  const link = await getLinkToParent(trx, parentId);
  await trx('links').where({ parent_id: parentId }).delete();
  return link?.id;
}

/**
 * Gives the link to a parent another parent: when, how fast and what is fetched stays as it is set; what was known of the parent
 * before goes. Its id, or undefined when there is none.
 */
export async function moveLink(trx: Knex.Transaction, from: Id, to: Id): Promise<Id | undefined> {
  const link = await getLinkToParent(trx, from);
  const unknown = { held_epoch: 0, held_generation: 0, held_mark: null, ancestors: null, ring: null, rate_bytes: null, forecast: null };
  await trx('links')
    .where({ parent_id: from })
    .update({ parent_id: to, ...unknown })
    .increment('revision', 1);
  return link?.id;
}

export async function getLink(db: Knex, id: Id): Promise<Link | undefined> {
  const row = await db<LinkRow>('links').where({ id }).first();
  return row && toLink(row);
}

export async function getLinkToParent(db: Knex, parentId: Id): Promise<Link | undefined> {
  const row = await db<LinkRow>('links').where({ parent_id: parentId }).first();
  return row && toLink(row);
}

export async function listLinks(db: Knex): Promise<Link[]> {
  return (await db<LinkRow>('links').orderBy('id')).map(toLink);
}

/** When a link runs. */
export type LinkTimes = Pick<Link, 'schedule' | 'timezone' | 'dueAt' | 'windows' | 'late'>;

/** Sets when a link runs and when that is next; what was owed by the schedule before is forgotten. */
export async function updateLinkSchedule(db: Knex, id: Id, times: LinkTimes): Promise<void> {
  await db('links')
    .where({ id })
    .update({
      schedule: times.schedule,
      timezone: times.timezone,
      due_at: times.dueAt,
      may_start: times.windows.mayStart,
      must_stop: times.windows.mustStop,
      late: times.late,
      owed_since: null,
      owed_why: null,
      revision: db.raw('revision + 1'),
    });
}

export async function updateLinkCaps(db: Knex, id: Id, { bps, office }: Caps): Promise<void> {
  await db('links')
    .where({ id })
    .update({ cap_bps: bps, office_hours: office?.hours ?? null, office_bps: office?.bps ?? null, revision: db.raw('revision + 1') });
}

/** Pauses a link, or (null) lets it go on. A pause that is there already is kept: false then. */
export async function updateLinkPause(db: Knex, id: Id, pause: Pause | null): Promise<boolean> {
  const find = db('links').where({ id });
  const changed = await (pause === null ? find.whereNotNull('paused_at') : find.whereNull('paused_at')).update({
    paused_at: pause?.at ?? null,
    paused_by: pause?.by ?? null,
    revision: db.raw('revision + 1'),
  });
  return changed === 1;
}

/** Moves a link's clock: the next due time, and the run that is owed. */
export async function updateLinkDue(db: Knex, id: Id, dueAt: number | null, owed?: Link['owed']): Promise<void> {
  const late = owed === undefined ? {} : { owed_since: owed?.since ?? null, owed_why: owed?.why ?? null };
  await db('links')
    .where({ id })
    .update({ due_at: dueAt, ...late });
}

export async function updateLinkForecast(db: Knex, id: Id, forecast: Lacking | null): Promise<void> {
  await db('links')
    .where({ id })
    .update({ forecast: forecast === null ? null : JSON.stringify(forecast) });
}

/** What is held of parents' catalogues counts no more: they are asked for whole. */
export async function forgetHeld(trx: Knex): Promise<void> {
  await trx('links').update({ held_epoch: 0, held_generation: 0, held_mark: null });
}

/**
 * Records how far the parent's catalogue is complete here. Part of the transaction that publishes. A number that was held
 * is never given up: an archive file may have been loaded while the run was on its way.
 */
export async function updateLinkHeld(
  trx: Knex,
  id: Id,
  held: { epoch: number; generation: number; mark?: string | undefined; at: number | null },
): Promise<void> {
  const { epoch, generation, mark, at } = held;
  await trx('links').where({ id }).update({ last_run_at: at });
  await trx('links')
    .where({ id })
    .where((row) =>
      row.where('held_epoch', '<', epoch).orWhere((same) => same.where({ held_epoch: epoch }).where('held_generation', '<', generation)),
    )
    .update({ held_epoch: epoch, held_generation: generation, held_mark: mark ?? null });
}

/** Sets of which images the content is fetched. */
export async function updateLinkScope(db: Knex, id: Id, scope: Scope): Promise<void> {
  const text = Object.keys(scope).length === 0 ? null : JSON.stringify(scope);
  await db('links').where({ id }).update({ scope: text }).increment('revision', 1);
}

/** Sets whether runs start when the parent has published. */
export async function updateLinkAfterParent(db: Knex, id: Id, afterParent: boolean): Promise<void> {
  await db('links').where({ id }).update({ after_parent: afterParent }).increment('revision', 1);
}

/** Keeps what the parent told of our place in the tree. */
export async function updateLinkTier(db: Knex, id: Id, tier: { ancestors: readonly Id[]; ring: number | null }): Promise<void> {
  await db('links')
    .where({ id })
    .update({ ancestors: JSON.stringify(tier.ancestors), ring: tier.ring });
}

export async function updateLinkRate(db: Knex, id: Id, rateBytes: number): Promise<void> {
  await db('links').where({ id }).update({ rate_bytes: rateBytes });
}

function toLink(row: LinkRow): Link {
  return {
    id: row.id as Id,
    parentId: row.parent_id as Id,
    schedule: row.schedule,
    timezone: row.timezone,
    heldEpoch: Number(row.held_epoch),
    heldGeneration: Number(row.held_generation),
    heldMark: row.held_mark,
    scope: row.scope === null ? FULL_SCOPE : (JSON.parse(row.scope) as Scope),
    ancestors: row.ancestors === null ? [] : (JSON.parse(row.ancestors) as Id[]),
    ring: row.ring,
    afterParent: Boolean(row.after_parent),
    rateBytes: row.rate_bytes === null ? null : Number(row.rate_bytes),
    dueAt: toNumber(row.due_at),
    lastRunAt: toNumber(row.last_run_at),
    windows: { mayStart: row.may_start, mustStop: row.must_stop },
    late: row.late,
    caps: {
      bps: toNumber(row.cap_bps),
      office: row.office_hours === null ? null : { hours: row.office_hours, bps: toNumber(row.office_bps) },
    },
    paused: row.paused_at === null ? null : { at: Number(row.paused_at), by: row.paused_by ?? '' },
    owed: row.owed_since === null || row.owed_why === null ? null : { since: Number(row.owed_since), why: row.owed_why },
    forecast: row.forecast === null ? null : JSON.parse(row.forecast),
  };
}

function toNumber(value: number | string | null): number | null {
  return value === null ? null : Number(value);
}
