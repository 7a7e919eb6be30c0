import { X509Certificate } from 'node:crypto';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { Digest, Id } from '../../core/ids.ts';
import { spkiDigest } from '../../core/pin.ts';
import { type KnownServer, listServers } from '../db/servers.ts';
import { listSources } from '../db/sources.ts';
import type { Site } from '../site.ts';
import { requestForKey } from './certificates.ts';
import { isPastHalfLife } from './keys.ts';
import { pinnedJson } from './pinned-request.ts';
import { type PinnedAgent, pinnedAgent } from './pinned-tls.ts';

/**
 * A child's client certificate is renewed for the same key: if the answer is lost, the old certificate still
 * counts and the child asks again. A new key comes with a new enrolment.
 */
export const RenewRequest = z.object({ csr: z.string().max(8192) });
export const RenewAnswer = z.object({ certificate: z.string().max(8192) });

/** The parent's side. Throws `denied` when the request is for another key than the one that asks. */
export async function renewChildCertificate(
  site: Site,
  child: { id: Id; keyId: Digest },
  csr: string,
): Promise<z.infer<typeof RenewAnswer>> {
  const issued = await site.keys.issueClientCertificate(csr, child.id, site.now());
  if (issued.keyId !== child.keyId)
    throw new AppError('denied', 'a certificate is renewed for its own key only', { hint: 'enrol again for a new key' });
  site.log.info('client certificate renewed', { server: child.id });
  return { certificate: issued.pem };
}

/** Whoever issued a client certificate to us: a parent, or a source. */
type Issuer = Pick<KnownServer, 'id' | 'name' | 'url' | 'caPin' | 'certificateKeyId'>;

/** The child's side: renews what parents and sources issued to us when half of its life is over. A failure is logged and tried again the next time. */
export async function renewOwnCertificates(site: Site, signal?: AbortSignal): Promise<void> {
  const known = (await listServers(site.db)).filter((server) => server.relation === 'parent' && server.state === 'active');
  const parents: readonly Issuer[] = [...known, ...(await listSources(site.db)).map((source) => ({ ...source, id: source.serverId }))];
  for (const parent of parents) {
    const credentials = site.keys.parentCredentials(parent.id);
    if (signal?.aborted) return;
    if (!credentials || !isPastHalfLife(credentials.certPem, site.now())) continue;
    try {
      await renewAtParent(site, parent, signal);
      site.log.info('our client certificate was renewed', { server: parent.id });
    } catch (error) {
      site.log.warn('our client certificate was not renewed', { server: parent.id, error: String(error) });
    }
  }
}

/** An agent for requests to a parent: its pin, our certificate. Throws `wrong_state` when we have none. */
export function parentAgent(site: Site, parent: Pick<KnownServer, 'id' | 'name' | 'caPin'>): PinnedAgent {
  const credentials = site.keys.parentCredentials(parent.id);
  if (!credentials || parent.caPin === null) {
    throw new AppError('wrong_state', `there is no certificate for the parent ${parent.name}`, {
      hint: 'join it again: waystation server join URL',
    });
  }
  return pinnedAgent({ pin: parent.caPin, cert: credentials.certPem, key: credentials.keyPem, now: site.now });
}

/** Renews at once, whatever the age of the certificate. */
export async function renewAtParent(site: Site, parent: Issuer, signal?: AbortSignal): Promise<void> {
  const credentials = site.keys.parentCredentials(parent.id);
  const agent = parentAgent(site, parent);
  try {
    if (!credentials) return;
    const csr = await requestForKey(site.self.id, credentials.keyPem, credentials.certPem);
    const request = { url: `${parent.url}/api/v1/sync/renew`, json: { csr }, ...(signal ? { signal } : {}) };
    const answer = RenewAnswer.parse(await pinnedJson(agent, request));
    const certificate = new X509Certificate(answer.certificate);
    if (spkiDigest(certificate.publicKey) !== parent.certificateKeyId) throw new Error('the parent certified another key');
    await site.keys.storeParentCredentials(parent.id, { ...credentials, certPem: answer.certificate });
  } finally {
    agent.destroy();
  }
}
