import { X509Certificate } from 'node:crypto';
import { AppError } from '../../core/errors.ts';
import { type Digest, type Id, printable } from '../../core/ids.ts';
import { spkiDigest } from '../../core/pin.ts';
import type { Catalogue, Endorsement, SignerRecord } from '../../core/sync-protocol.ts';
import { getPeer } from '../db/peers.ts';
import { getServer } from '../db/servers.ts';
import { getSigner, listSigners, saveSigner } from '../db/signers.ts';
import { getTrustedServer, saveEndorsed } from '../db/trusted-servers.ts';
import type { Site } from '../site.ts';
import { verifyEndorsement, verifySigner } from './signatures.ts';

/*
 * Whose signature counts for what (docs/decisions/0011). A signing key counts for its own server only, and only when the
 * CA vouches for it under which we know that server:
 *
 *   our parent, our children   the pin of the enrolment
 *   what is above our parent   the pin that came down when we enrolled
 *   any other                  the pin in an endorsement by one whom we know, itself perhaps by an endorsement
 *   who meets us in a database the pin that it was first seen with there (unless the configuration forbids it)
 *
 * A server has one pin for good: what is known is never replaced by what somebody vouches for. So a relay speaks for
 * itself and for those that enrolled below it, and for nobody above it or beside it whom we know.
 */

/** What a catalogue brings along to be believed. */
export type Brought = Pick<Catalogue, 'signers' | 'endorsements'>;
export type WantedSigner = { readonly keyId: string; readonly serverId: string };

/** As deep as a tree of servers may be; an endorsement that leads back to itself ends here. */
const MOST_STEPS = 32;

/** A signer we know already, or one that was brought and is vouched for. Throws `bad_signature`. */
export async function trustedSigner(site: Site, brought: Brought, wanted: WantedSigner, steps = 0): Promise<SignerRecord> {
  if (wanted.serverId === site.self.id && wanted.keyId === site.keys.signerKeyId) return site.keys.signer;
  const known = await getSigner(site.db, wanted.keyId as Digest);
  if (known?.serverId === wanted.serverId) return known;
  const record = brought.signers.find((signer) => signer.keyId === wanted.keyId && signer.serverId === wanted.serverId);
  if (record === undefined || steps > MOST_STEPS) throw unknownSigner(wanted);
  verifySigner(record, (await pinOf(site, wanted.serverId as Id)) ?? (await endorsedPin(site, brought, { wanted, steps })));
  await saveSigner(site.db, record, site.now());
  return record;
}

/** The CA pin under which we know a server: by its row, by what came down, or by a signer that was accepted before. */
async function pinOf(site: Site, serverId: Id): Promise<Digest | undefined> {
  if (serverId === site.self.id) return site.keys.caPin;
  const pin = (await getServer(site.db, serverId))?.caPin ?? (await getTrustedServer(site.db, serverId))?.caPin;
  if (pin !== undefined && pin !== null) return pin;
  const [signer] = await listSigners(site.db, serverId);
  if (signer !== undefined) return spkiDigest(new X509Certificate(signer.ca).publicKey);
  return site.config.enrolThroughDatabase ? (await getPeer(site.db, serverId))?.caPin : undefined;
}

async function endorsedPin(
  site: Site,
  brought: Brought,
  { wanted, steps }: { readonly wanted: WantedSigner; readonly steps: number },
): Promise<Digest> {
  const endorsement: Endorsement | undefined = brought.endorsements?.find(({ serverId }) => serverId === wanted.serverId);
  if (endorsement === undefined) throw unknownSigner(wanted);
  const { keyId, endorser } = endorsement;
  verifyEndorsement(endorsement, await trustedSigner(site, brought, { keyId, serverId: endorser }, steps + 1));
  await saveEndorsed(site.db, endorsement, { origin: site.self.id, now: site.now() });
  return endorsement.caPin as Digest;
}

function unknownSigner(wanted: WantedSigner): AppError {
  return new AppError('bad_signature', `nobody we trust vouches for signing key ${wanted.keyId} of server ${printable(wanted.serverId)}`, {
    hint: 'nothing was taken; if that server is above our parent, or was rebuilt with new keys, join again with a new token',
  });
}
