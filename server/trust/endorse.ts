import { AppError } from '../../core/errors.ts';
import type { Digest, Id } from '../../core/ids.ts';
import type { Ancestor, Endorsement, SignerRecord } from '../../core/sync-protocol.ts';
import { getServer, listServers } from '../db/servers.ts';
import { getSigner } from '../db/signers.ts';
import { getTrustedServer, listAncestors } from '../db/trusted-servers.ts';
import type { Site } from '../site.ts';
import { endorsementBytes } from './signatures.ts';

/** The servers above us, nearest first: what a child that enrols here must know, because nothing we say later counts for them. */
export async function listLineage(site: Pick<Site, 'db'>): Promise<Ancestor[]> {
  const parents = (await listServers(site.db)).filter(({ relation }) => relation === 'parent');
  const known = parents.flatMap(({ id, name, caPin }) => (caPin === null ? [] : [{ serverId: id, name, caPin }]));
  return [...known, ...(await listAncestors(site.db))];
}

/** Throws `wrong_state` when one of these is `serverId`: servers form a tree. */
export function refuseCycle(ancestors: readonly Ancestor[], serverId: Id): void {
  if (ancestors.some((ancestor) => ancestor.serverId === serverId)) throw aboveItself(serverId);
}

export function aboveItself(serverId: Id): AppError {
  return new AppError('wrong_state', `server ${serverId} would be above itself`, { hint: 'servers form a tree: choose another parent' });
}

export type Vouchers = { readonly signers: SignerRecord[]; readonly endorsements: Endorsement[] };

/** What a reader below or above us needs to believe in objects of these origins: endorsements up to one that enrolled here, and their signers. */
export async function vouchFor(site: Site, origins: Iterable<Id>): Promise<Vouchers> {
  const endorsements = new Map<Id, Endorsement>();
  const open = [...new Set(origins)];
  for (let origin = open.pop(); origin !== undefined; origin = open.pop()) {
    if (endorsements.has(origin) || origin === site.self.id) continue;
    const endorsement = await endorsementOf(site, origin);
    if (endorsement === undefined) continue;
    endorsements.set(origin, endorsement);
    open.push(endorsement.endorser as Id);
  }
  const keyIds = new Set([...endorsements.values()].map(({ keyId }) => keyId as Digest));
  const signers = await Promise.all([...keyIds].map((keyId) => getSigner(site.db, keyId)));
  return { endorsements: [...endorsements.values()], signers: signers.filter((signer) => signer !== undefined) };
}

/**
 * Also of a revoked child, and of a parent that was left: what we took from it while it was one stays, and must be believed below. It
 * helps those only who know that server by nothing else.
 */
async function endorsementOf(site: Site, origin: Id): Promise<Endorsement | undefined> {
  const known = await getServer(site.db, origin);
  const trusted = known?.relation === 'child' ? undefined : await getTrustedServer(site.db, origin);
  if (trusted?.endorsement) return trusted.endorsement;
  const met = trusted?.source === 'endorsed' ? trusted : known?.relation === 'child' ? known : undefined;
  if (met === undefined || met.caPin === null) return undefined;
  const said = { endorser: site.self.id, serverId: met.id, name: met.name, caPin: met.caPin };
  return { ...said, keyId: site.keys.signerKeyId, signature: site.keys.sign(endorsementBytes(said)) };
}
