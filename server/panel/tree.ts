import { isoTime } from '../../core/iso-time.ts';
import { type Finding, type HealthFacts, judgeServer } from '../../core/server-health.ts';
import type { ServerTree, TreeServer } from '../../core/server-tree.ts';
import { alarmWords } from '../holdings/alarms.ts';
import { unscheduledWords } from '../schedule/unscheduled.ts';
import type { Site } from '../site.ts';
import { actionsOf, type Rights } from './actions.ts';
import { type Contact, contactOf } from './contact.ts';
import { readTreeFacts, type TreeFacts } from './facts.ts';
import { listPlaces, type Place } from './places.ts';
import { sharedFindings } from './shared-findings.ts';
import { beatOf, standingOf } from './standing.ts';
import type { Summary } from './summaries.ts';
import { viewRun } from './view-run.ts';

/** The servers as one tree with how each is: `GET /api/v1/tree`, the console's list. */
export async function readServerTree(site: Site, rights: Rights): Promise<ServerTree> {
  const facts = await readTreeFacts(site);
  const places = listPlaces(site, facts);
  const items = places.map((place) => viewPlace(site, place, { facts, rights }));
  return { at: isoTime(facts.now) ?? '', self: site.self.id, items };
}

type View = { readonly facts: TreeFacts; readonly rights: Rights };

function viewPlace(site: Site, place: Place, { facts, rights }: View): TreeServer {
  const { known, summary, relation } = place;
  const contact = relation === 'self' ? SELF : (contactOf(site, place.id, relation === 'parent' ? 'parent' : 'child') ?? NEVER);
  const isConnected = relation === 'behind' || relation === 'peer' ? null : contact.isConnected;
  const heardAt = newest(contact.heardAt, known?.seenAt ?? null, place.reportedAt);
  const { release, ...standing } = standingOf(site, place, { facts, heardAt });
  const paused = pauseOf(place, facts);
  const heard = { isConnected, heardAt, beat: beatOf(site, place, standing), failure: contact.failure };
  const health = judgeServer({ state: standing.state, ...healthFacts(site, place, { facts, heard }), paused }, facts.now);
  return {
    ...{ id: place.id, name: place.name, relation, ...standing, parentId: place.parentId, parent: place.parent },
    role: place.role,
    ...{ url: known?.url ?? place.peer?.url ?? null, version: summary?.version ?? release, contentOnly: known?.isContentOnly ?? false },
    health: { level: health.level, findings: health.findings.map((one) => ({ ...one, since: isoTime(one.since) })) },
    ...{ connected: isConnected, heardAt: relation === 'self' ? null : isoTime(heardAt), reportedAt: isoTime(place.reportedAt) },
    syncedAt: summary?.link?.lastRunAt ?? isoTime(known?.syncedAt ?? null),
    ...{
      nextRunAt: summary?.link?.nextRunAt ?? null,
      schedule: summary?.link?.schedule ?? null,
      afterParent: summary?.link?.afterParent ?? false,
      paused: paused !== null,
    },
    run: summary?.run == null ? null : viewRun(summary.run),
    images: summary === undefined ? null : countsOf(summary),
    ...{ disk: summary?.disk ?? null, waiting: facts.waiting.get(place.id) ?? 0 },
    can: actionsOf(place, facts, { rights, standing }),
  };
}

type Heard = Pick<HealthFacts, 'isConnected' | 'heardAt' | 'beat'> & Pick<Contact, 'failure'>;

function healthFacts(site: Site, place: Place, { facts, heard }: { readonly facts: TreeFacts; readonly heard: Heard }) {
  const { known, summary, relation } = place;
  const isQuiet = known?.isContentOnly === true && summary === undefined;
  const { failure, ...contact } = heard;
  const run = summary?.run;
  return {
    ...contact,
    isConnected: isQuiet ? true : heard.isConnected,
    contactError: failure === null ? null : { words: failure.words, since: failure.since },
    alarms: alarmsOf(place, facts),
    isUnreadable: place.reportedAt !== null && summary === undefined,
    run: run == null ? null : { state: run.state, code: run.code ?? null, error: run.error, endedAt: parse(run.endedAt) },
    images: summary?.images ?? null,
    others: [...(relation === 'self' ? sharedFindings(site) : []), ...scheduleFindings(place)],
  };
}

/** A server of a release that does not say whether it follows its parent is not spoken of. */
function scheduleFindings({ name, summary }: Place): Finding[] {
  const { schedule = null, afterParent } = summary?.link ?? {};
  const words = afterParent === undefined ? null : unscheduledWords({ schedule, afterParent }, name);
  return words === null ? [] : [{ level: 'notice', words, since: null }];
}

const SELF: Contact = { isConnected: true, heardAt: null, failure: null };
const NEVER: Contact = { isConnected: false, heardAt: null, failure: null };

function countsOf({ images: { wanted, held, failing, missingBytes } }: Summary): NonNullable<TreeServer['images']> {
  return { wanted, held, failing, missingBytes };
}

/** What a server says of itself, and what we as its parent have noticed; once, where both say the same. */
function alarmsOf({ id, name, known, summary, relation }: Place, { alarms }: TreeFacts): string[] {
  const own = summary?.alarms ?? [];
  const raised = relation === 'child' && alarms.has(id) && !own.some((words) => words.startsWith(`${name} has n`));
  return raised ? [alarmWords({ name, syncedAt: known?.syncedAt ?? null }), ...own] : [...own];
}

function pauseOf({ id, relation, summary }: Place, { pauses, operators }: TreeFacts): HealthFacts['paused'] {
  const here = pauses.get(id);
  if (relation === 'child' && here) return { by: whoIs(here.by, operators), since: here.at, where: 'here' };
  const own = summary?.link?.paused;
  if (own == null) return null;
  return { by: whoIs(own.by, operators), since: Date.parse(own.since), where: relation === 'self' ? 'here' : 'there' };
}

/** Actors as people call them. Operators of other servers have no name here. */
function whoIs(actor: string, operators: TreeFacts['operators']): string {
  if (actor === 'local-admin') return 'the administrator of the machine';
  const [, operator] = /^operator:(.+)$/.exec(actor) ?? [];
  return operator === undefined ? actor : (operators.get(operator) ?? 'an operator');
}

function newest(...times: readonly (number | null)[]): number | null {
  const known = times.filter((time) => time !== null);
  return known.length === 0 ? null : Math.max(...known);
}

function parse(text: string | null | undefined): number | null {
  return text == null ? null : Date.parse(text);
}
