import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import { type Id, printable } from '../../core/ids.ts';
import type { Config } from '../config.ts';
import { appendEvent } from '../db/events.ts';
import { markChanged } from '../db/outbox.ts';
import { deleteSetting, getSetting, setSetting } from '../db/settings.ts';
import { succeeds } from '../db/successions.ts';
import type { Site } from '../site.ts';
import { serverName } from './servers-below.ts';

/** What can be set while a server runs, also from above, and the values it may have. The configuration file gives the default. */
export const POLICIES = {
  approve: ['auto', 'operator'],
  unknownTargets: ['engine', 'disk', 'menu'],
  idleTargets: ['disk', 'menu'],
} as const satisfies { readonly [Key in keyof Config]?: readonly Config[Key][] };
export type PolicyKey = keyof typeof POLICIES;
export type PolicyValue<Key extends PolicyKey> = (typeof POLICIES)[Key][number];

type Kept = { readonly value: string; readonly owner: Id };
type PolicySite = Pick<Site, 'db' | 'self' | 'config'>;

/** The value in force: what was set here or above, else the configuration's. */
export async function policyOf<Key extends PolicyKey>(site: PolicySite, key: Key): Promise<PolicyValue<Key>> {
  const kept = await readKept(site.db, key);
  return (kept?.value ?? site.config[key]) as PolicyValue<Key>;
}

/** All of them, and where each value is from: `configuration`, or the server that set it. */
export async function listPolicies(site: PolicySite): Promise<Record<string, { value: string; from: string }>> {
  const entries = Object.keys(POLICIES).map(async (key) => {
    const kept = await readKept(site.db, key as PolicyKey);
    if (kept === undefined) return [key, { value: site.config[key as PolicyKey], from: 'configuration' }] as const;
    return [key, { value: kept.value, from: await serverName(site.db, kept.owner) }] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** Who asks: `owner` is the server where it was asked, `actor` who did it there. */
export type Setter = { readonly owner: Id; readonly actor: string };

/**
 * Sets a policy, or gives it back to the configuration (null), in the caller's transaction.
 * Errors: `usage` for another key or value; `not_permitted` here while a server above has set it, naming that one.
 */
export async function putPolicy(
  site: Site,
  trx: Knex,
  setting: { key: string; value: string | null },
  { owner, actor }: Setter,
): Promise<void> {
  const { key, value } = checkPolicy(setting);
  const kept = await readKept(trx, key);
  const isOurs = kept === undefined || kept.owner === site.self.id || (await succeeds(trx, site.self.id, kept.owner));
  if (owner === site.self.id && !isOurs) throw managed(key, await serverName(trx, kept.owner));
  if (value === null) await deleteSetting(trx, settingOf(key));
  else await setSetting(trx, settingOf(key), JSON.stringify({ value, owner } satisfies Kept));
  const data = { key, value, owner };
  await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, kind: 'setting.changed', subject: site.self.id, data });
  await markChanged(trx, 'server', site.self.id);
}

/** A key and value that a policy may have. Throws `usage`. */
export function checkPolicy({ key, value }: { key: string; value: string | null }): { key: PolicyKey; value: string | null } {
  const values: readonly string[] | undefined = Object.hasOwn(POLICIES, key) ? POLICIES[key as PolicyKey] : undefined;
  if (values !== undefined && (value === null || values.includes(value))) return { key: key as PolicyKey, value };
  throw new AppError('usage', `"${printable(`${key}=${value ?? ''}`)}" cannot be set`, {
    hint: Object.entries(POLICIES)
      .map(([name, allowed]) => `${name}=${allowed.join('|')}`)
      .join(', '),
  });
}

async function readKept(db: Knex, key: PolicyKey): Promise<Kept | undefined> {
  const text = await getSetting(db, settingOf(key));
  return text === undefined ? undefined : (JSON.parse(text) as Kept);
}

function settingOf(key: PolicyKey): string {
  return `policy.${key}`;
}

function managed(key: string, owner: string): AppError {
  return new AppError('not_permitted', `${key} of this server is set by server ${owner}`, {
    hint: `change it there: waystation server set NAME ${key}=…, or ${key}= to give it back`,
  });
}
