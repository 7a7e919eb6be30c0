import type { Knex } from 'knex';
import { judgeRun } from '../../core/server-health.ts';
import type { Config } from '../config.ts';
import { type Connection, resolveDatabase } from '../datasource.ts';
import { splitHost } from '../db/dialect-mysql.ts';
import { type Link, listLinks } from '../db/links.ts';
import { openOwnDatabase } from '../db/own.ts';
import { listRuns } from '../db/runs.ts';
import { getSetting } from '../db/settings.ts';
import { unscheduled } from '../schedule/unscheduled.ts';
import { complaintsAbout, examineShared } from '../shared/examine.ts';
import { CLAIMED, claimWords } from '../succession/claim.ts';
import { type Fence, fencedError, fenceWords, readFence } from '../succession/fence.ts';
import { type Finding, fail, failWith, ok, warn } from './finding.ts';

const LOOPBACK = /^(localhost|127(\.\d+){3}|::1)$/i;
type Mysql = Connection & { kind: 'mysql' };

/** Our own database opens and has this release's schema; the shared one is reached, has what it needs, and nobody on the way reads along. */
export async function checkDatabase(
  config: Pick<Config, 'database'>,
  dataDir: string,
  env: NodeJS.ProcessEnv,
): Promise<readonly Finding[]> {
  let connection: Connection;
  try {
    connection = await resolveDatabase(config.database, { dataDir, env });
  } catch (error) {
    return [failWith('database', error)];
  }
  const own = await checkOwn(dataDir, connection);
  return connection.kind === 'mysql' ? [...own, ...(await checkShared(connection)), ...checkPrivacy(connection)] : own;
}

async function checkOwn(dataDir: string, connection: Connection): Promise<readonly Finding[]> {
  try {
    const db = await openOwnDatabase(dataDir, connection);
    try {
      const { fence, claim } = await readPlace(db);
      const place = fence === undefined ? (claim === undefined ? [] : [warnClaim(claim)]) : [checkFence(fence)];
      return [ok('database', 'db.sqlite, schema is current'), ...place, ...(await checkLinks(db))];
    } finally {
      await db.destroy();
    }
  } catch (error) {
    return [failWith('database', error)];
  }
}

async function readPlace(db: Knex): Promise<{ fence: Fence | undefined; claim: string | undefined }> {
  return { fence: await readFence(db), claim: await getSetting(db, CLAIMED) };
}

function warnClaim(claim: string): Finding {
  const hint = 'if it was promoted: make this server its child (server token there, server join here); if not: server revoke it';
  return warn('place of this server', claimWords(claim), hint);
}

function checkFence(fence: Fence): Finding {
  const what = 'place of this server';
  if (fence.phase === 'returning') return warn(what, fenceWords(fence), 'waystation sync run');
  return fail(what, fenceWords(fence), fencedError(fence).hint ?? '');
}

/** A child that nobody gave a schedule, and one whose runs do not come through, have what they were last told to fetch. */
async function checkLinks(db: Knex): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const link of await listLinks(db)) findings.push(checkSchedule(link), ...(await checkLastRun(db, link)));
  return findings;
}

function checkSchedule(link: Link): Finding {
  const none = unscheduled(link);
  if (none !== null) return warn('replication', none.words, none.hint);
  return ok('replication', link.schedule === null ? 'runs start after the parent' : `runs start at ${link.schedule} (${link.timezone})`);
}

async function checkLastRun(db: Knex, link: Link): Promise<Finding[]> {
  const paused = link.paused === null ? [] : [warn('replication', `paused by ${link.paused.by}`, 'waystation sync resume')];
  const [run] = await listRuns(db, { linkId: link.id, limit: 1 });
  if (run === undefined) return paused;
  const { state, error, endedAt } = run;
  const found = judgeRun({ state, code: error?.code ?? null, error: error?.message ?? null, endedAt });
  return [...paused, ...found.map(({ words }) => warn('replication', words, error?.hint ?? 'waystation sync status'))];
}

/** A shared database that is away is a warning: this server works without it. */
async function checkShared(connection: Mysql): Promise<readonly Finding[]> {
  const name = 'shared database';
  try {
    const examined = await examineShared(connection);
    const complaints = complaintsAbout(examined);
    const { version, latencyMs, schema } = examined;
    if (complaints.length > 0) return complaints.map((words) => warn(name, words, 'see "One shared database" in docs/operations.md'));
    return [ok(name, `${connection.name}, ${version}, ${latencyMs} ms away, schema ${schema}`)];
  } catch (error) {
    const { state, message, hint } = failWith(name, error);
    const isAway = ['unreachable', 'busy'].includes((error as { code?: string }).code ?? '');
    return [isAway ? warn(name, message, hint ?? '') : { name, state, message, hint }];
  }
}

/** Without a CA the driver speaks plain TCP to whoever answers. */
function checkPrivacy({ ca, hosts }: Mysql): readonly Finding[] {
  const far = hosts.filter((address) => !LOOPBACK.test(splitHost(address).host));
  if (ca !== undefined || far.length === 0) return [];
  const message = `the way to ${far.join(', ')} is plain TCP: whoever is on it reads and changes every record`;
  return [warn('database connection', message, 'set "ca" of the database to the CA that signed its certificate')];
}
