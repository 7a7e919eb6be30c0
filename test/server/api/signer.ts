import { createPrivateKey, sign } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Id } from '../../../core/ids.ts';
import type { SignerRecord } from '../../../core/sync-protocol.ts';
import { createKeys } from '../../../server/trust/keys.ts';
import { signerBytes } from '../../../server/trust/signatures.ts';

/** The signer record of a server that exists for its keys only; with `claimed` its CA vouches for that key instead of its own. */
export async function signerOf(serverId: Id, claimed?: Pick<SignerRecord, 'keyId' | 'publicKey'>): Promise<SignerRecord> {
  const dataDir = await mkdtemp(join(tmpdir(), 'ws-signer-'));
  try {
    const { signer } = await createKeys(dataDir, serverId, Date.now());
    if (claimed === undefined) return signer;
    const caKey = createPrivateKey(await readFile(join(dataDir, 'keys', 'ca.key'), 'utf8'));
    const record = { serverId, keyId: claimed.keyId, publicKey: claimed.publicKey };
    return { ...record, ca: signer.ca, signature: sign('sha256', signerBytes(record), caKey).toString('base64') };
  } finally {
    await rm(dataDir, { recursive: true });
  }
}
