import type { Knex } from 'knex';
import { listReported } from '../db/reported.ts';
import { getSetting } from '../db/settings.ts';

/**
 * When this server was restored, and of which moment it is: `{at, backupAt, epoch, events}`. `events` is the number of its last own event then, until a
 * parent was asked how many it knows (server/control/align-events.ts).
 */
export const RESTORED = 'restored';
/** A report may name 500 images: reading more of them at once would hold up the loop. */
const REPORTS_AT_ONCE = 5;

/**
 * Versions of a name that servers below hold, when this server was restored from a backup: it may have given them and
 * lost them, and a second one of that name would be turned down there. None at any other server.
 */
export async function listLostVersions(db: Knex, name: string): Promise<readonly string[]> {
  if ((await getSetting(db, RESTORED)) === undefined) return [];
  const versions: string[] = [];
  for (let after: string | undefined; ; ) {
    const reports = await listReported(db, 'server', { after, limit: REPORTS_AT_ONCE });
    for (const { body } of reports) versions.push(...versionsIn(body, name));
    after = reports.at(-1)?.subject;
    if (reports.length < REPORTS_AT_ONCE) return [...new Set(versions)];
  }
}

function versionsIn(body: unknown, name: string): string[] {
  const { images } = (body ?? {}) as { images?: readonly { reference?: unknown }[] };
  const references = Array.isArray(images) ? images.map(({ reference }) => String(reference)) : [];
  return references.filter((reference) => reference.startsWith(`${name}@`)).map((reference) => reference.slice(name.length + 1));
}
