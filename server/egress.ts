import { AppError } from '../core/errors.ts';
import { MAX_CAP_BPS, MIN_CAP_BPS } from '../core/schedule/caps.ts';
import { controlTopic } from './control/dispatch.ts';
import { type Grant, getGrant, getTotalEgress, listGrants, setTotalEgress, updateGrantPause, updatePriority } from './db/egress.ts';
import { appendEvent } from './db/events.ts';
import { inTransaction } from './db/open.ts';
import { EGRESS } from './replication/egress.ts';
import { findServer } from './servers.ts';
import type { Site } from './site.ts';

/** What this server grants its children. */
export type Egress = { readonly bps: number | null; readonly children: readonly Grant[] };

export async function showEgress(site: Site): Promise<Egress> {
  return { bps: await getTotalEgress(site.db), children: await listGrants(site.db) };
}

/** Limits what all tunnels together send, in bits per second, or (null) does not; transfers under way obey at once. Throws `usage`. */
export async function setEgress(site: Site, bps: number | null, actor: string): Promise<Egress> {
  if (bps !== null && !(Number.isSafeInteger(bps) && bps >= MIN_CAP_BPS && bps <= MAX_CAP_BPS)) {
    throw new AppError('usage', `a total of ${bps} bit/s is out of range`, { hint: 'from 0.008 to 1000000 Mbit/s' });
  }
  await inTransaction(site.db, async (trx) => {
    await setTotalEgress(trx, bps);
    await appendEvent(trx, { ...stamp(site, actor), kind: 'egress.set', subject: site.self.id, data: { bps } });
  });
  return told(site);
}

/** Gives a child so many shares against the others', 1 to 100. Throws `usage`, `not_found`, `wrong_state` (not a child). */
export async function setPriority(
  site: Site,
  reference: string,
  { priority, actor }: { priority: number; actor: string },
): Promise<Egress> {
  if (!Number.isInteger(priority) || priority < 1 || priority > 100) {
    throw new AppError('usage', `${priority} is no priority`, { hint: 'a whole number from 1 to 100; 10 is that of a new child' });
  }
  const child = await findChild(site, reference);
  await inTransaction(site.db, async (trx) => {
    await updatePriority(trx, child.id, priority);
    await appendEvent(trx, { ...stamp(site, actor), kind: 'server.priority', subject: child.id, data: { priority } });
  });
  return told(site);
}

/** Which children: one, by name or id, or all that are not revoked. */
export type Children = { readonly reference: string } | 'all';

/** Ends what children fetch within seconds, keeping what they have, and gives them no content until they are resumed. Repeating it is harmless. */
export function pauseChildren(site: Site, which: Children, actor: string): Promise<Egress> {
  return changePause(site, { which, actor, pause: { at: site.now(), by: actor } });
}

export function resumeChildren(site: Site, which: Children, actor: string): Promise<Egress> {
  return changePause(site, { which, actor, pause: null });
}

type PauseChange = { readonly which: Children; readonly actor: string; readonly pause: Grant['paused'] };

async function changePause(site: Site, { which, actor, pause }: PauseChange): Promise<Egress> {
  const children = which === 'all' ? await listGrants(site.db) : [await findChild(site, which.reference)];
  await inTransaction(site.db, async (trx) => {
    for (const { id } of children) {
      const isChanged = await updateGrantPause(trx, id, pause);
      const kind = pause === null ? 'server.resumed' : 'server.paused';
      if (isChanged) await appendEvent(trx, { ...stamp(site, actor), kind, subject: id });
    }
  });
  for (const { id } of children) site.wake.notify(controlTopic(id));
  return told(site);
}

async function findChild(site: Site, reference: string): Promise<Grant> {
  const server = await findServer(site, reference);
  const grant = await getGrant(site.db, server.id);
  if (grant !== undefined) return grant;
  throw new AppError('wrong_state', `${server.name} is not a child of this server`, {
    hint: 'at the branch itself: waystation sync pause, sync cap',
  });
}

function stamp(site: Site, actor: string) {
  return { origin: site.self.id, at: site.now(), actor };
}

async function told(site: Site): Promise<Egress> {
  site.wake.notify(EGRESS);
  return showEgress(site);
}
