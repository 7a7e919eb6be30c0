import { createHash, createPrivateKey, generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import type { Json } from '../../../core/canonical-json.ts';
import { type Digest, type Id, type Name, newId } from '../../../core/ids.ts';
import { spkiDigest } from '../../../core/pin.ts';
import type { SignerRecord } from '../../../core/sync-protocol.ts';
import { storeBatch } from '../../../server/control/receive.ts';
import { describeSelf } from '../../../server/control/status.ts';
import { inTransaction } from '../../../server/db/open.ts';
import { noteOrigin, putOrigin } from '../../../server/db/origins.ts';
import { putPeer } from '../../../server/db/peers.ts';
import { createServer } from '../../../server/db/servers.ts';
import type { Registration } from '../../../server/db/shared/servers.ts';
import type { Site } from '../../../server/site.ts';
import { createAuthority } from '../../../server/trust/certificates.ts';
import { signerBytes } from '../../../server/trust/signatures.ts';
import type { Examples } from './examples.ts';
import { idOf } from './machines.ts';

/** How other servers are known: as children, or as such that meet this one in a database. */
export type Relation = 'child' | 'peer';

/** Makes up servers, number 0 being the example. One CA vouches for all of them, each of their keys checks. */
export async function makeUpServers(count: number): Promise<Registration[]> {
  const ca = await createAuthority(newId(), Date.now());
  const caPin = spkiDigest(new X509Certificate(ca.certificatePem).publicKey);
  const { publicKey } = generateKeyPairSync('ed25519');
  const caKey = createPrivateKey(ca.keyPem);
  const key = { keyId: spkiDigest(publicKey), publicKey: publicKey.export({ type: 'spki', format: 'der' }).toString('base64') };
  return Array.from({ length: count + 1 }, (_, n): Registration => {
    const id = idOf('server', n, n) as Id;
    const signature = sign('sha256', signerBytes({ serverId: id, ...key }), caKey).toString('base64');
    const signer: SignerRecord = { serverId: id, ...key, ca: ca.certificatePem, signature };
    const url = `https://192.0.2.${n % 250}:443`;
    return { id, name: `branch-${n}` as Name, url, caPin, ca: ca.certificatePem, signer, version: '0.1.0', epoch: 1 };
  });
}

/** Makes servers known at a site. */
export async function introduce(site: Site, servers: readonly Registration[], relation: Relation): Promise<void> {
  const now = site.now();
  await inTransaction(site.db, async (trx) => {
    for (const { id, name, url, caPin, ca, signer } of servers) {
      if (relation === 'peer') {
        const wish = { parentId: null, parentRevision: 0, parentBy: null, revision: 1 } as const;
        await putPeer(trx, { id, name, state: 'active', url, caPin, signer, ...wish }, now);
        await noteOrigin(trx, { id, seenAt: now });
        continue;
      }
      const known = { id, name, relation, state: 'active', url, caPin, ca, createdAt: now, seenAt: now } as const;
      await createServer(trx, { ...known, certificateKeyId: keyOf(id), signerKeyId: signer.keyId as Digest }, site.self.id);
      await putOrigin(trx, { id, via: id, seenAt: now });
    }
  });
}

function keyOf(id: Id): Digest {
  return `sha256:${createHash('sha256').update(id).digest('hex')}` as Digest;
}

/** What the example server tells: how it is, and of one machine with an order that ended. As if a child, or the database, had brought it. */
export async function tellAsExample(site: Site, { id, name }: Registration, { states, ended }: Examples): Promise<void> {
  const report = { ...(await describeSelf(site)), id, name, images: [] } as unknown as Json;
  const told = states.filter(({ kind, subject }) => kind === 'target' || subject === ended);
  const things = told.map(({ kind, subject, body }) => ({
    kind,
    subject,
    body: kind === 'target' ? { ...(body as object), order: null } : body,
  }));
  const items = [...things, { kind: 'server', subject: id, body: report }].map((item, n) => ({ ...item, seq: n + 1 }));
  const batch = { stream: 'states', origin: id, after: 0, items } as Parameters<typeof storeBatch>[2];
  await inTransaction(site.db, (trx) => storeBatch(site, trx, batch, { sender: id, changed: new Set() }));
}
