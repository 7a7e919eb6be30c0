import type { ServerReport } from '../../core/control-protocol.ts';
import type { Id } from '../../core/ids.ts';
import { isoTime } from '../../core/iso-time.ts';
import { judgeRun } from '../../core/server-health.ts';
import { lastSynced } from '../../core/sync-alarm.ts';
import { listKnown, type ServerStatus, statusesOf } from '../control/servers-below.ts';
import { listImages } from '../db/images.ts';
import { listOrigins } from '../db/origins.ts';
import type { KnownServer } from '../db/servers.ts';
import { listSyncAlarms } from '../db/sync-alarms.ts';
import type { Site } from '../site.ts';
import { alarmWords } from './alarms.ts';
import { toldSync } from './told-sync.ts';

/** How the sites below this one stand, its children and those behind them, by what each told last. */
export async function listChildHoldings(site: Pick<Site, 'db' | 'self'>) {
  const { linked, behind } = await listKnown(site.db);
  const children = linked.filter(({ relation, state, isContentOnly }) => relation === 'child' && state === 'active' && !isContentOnly);
  const names = new Map(linked.map(({ id, name }) => [id, name]));
  const facts: Facts = {
    self: site.self.id,
    alarms: await listSyncAlarms(site.db),
    told: await statusesOf(
      site.db,
      [...children, ...behind].map(({ id }) => id),
    ),
    heard: new Map((await listOrigins(site.db)).map(({ id, seenAt }) => [id, seenAt])),
    ours: (await listImages(site.db)).filter(({ state }) => state === 'published').map(({ name, version }) => `${name}@${version}`),
  };
  return [
    ...children.map((child) => viewSite({ ...child, via: null }, facts)),
    ...behind.map(({ id, name, via }) => viewSite({ id, name, via: names.get(via) ?? via, seenAt: facts.heard.get(id) ?? null }, facts)),
  ];
}

type Facts = {
  readonly self: Id;
  readonly alarms: ReadonlyMap<Id, number>;
  readonly told: ReadonlyMap<Id, ServerStatus>;
  readonly heard: ReadonlyMap<Id, number>;
  /** What is published here, as NAME@VERSION. */
  readonly ours: readonly string[];
};

type Below = Pick<KnownServer, 'id' | 'ring' | 'syncedAt' | 'seenAt'> & { readonly name: string; readonly via: string | null };

function viewSite({ id, name, via, ring, syncedAt: shown, seenAt }: Below, { self, alarms, told, ours }: Facts) {
  const status = told.get(id);
  const syncedAt = lastSynced(shown ?? null, toldSync(status, via === null ? self : undefined));
  const raised = alarms.get(id);
  const alarm = raised === undefined ? null : { since: isoTime(raised), words: alarmWords({ name, syncedAt }) };
  const heldOf = new Set(status?.report.images.map(({ reference }) => reference));
  return {
    ...{ server: name, id, via, ring: ring ?? null, syncedAt: isoTime(syncedAt), seenAt: isoTime(seenAt), alarm },
    reportedAt: isoTime(status?.at),
    trouble: alarm?.words ?? troubleOf(status?.report),
    /** How many images are published here that it has not been told of: it asks with its next run. */
    unheard: status === undefined ? null : ours.filter((reference) => !heldOf.has(reference)).length,
    images: status?.report.images ?? null,
  };
}

/** What is wrong there, the worst in words; null: nothing that it told. */
function troubleOf(report: ServerReport | undefined): string | null {
  if (report === undefined) return null;
  const { run, alarms, images } = report;
  const [found] = judgeRun(run === null ? null : { state: run.state, code: run.code ?? null, error: run.error, endedAt: null });
  return alarms[0] ?? found?.words ?? images.find(({ error }) => error !== undefined)?.error ?? null;
}
