import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Id } from '../../../core/ids.ts';
import type { SignerRecord } from '../../../core/sync-protocol.ts';
import { createKeys } from '../../../server/trust/keys.ts';

/** The signer record of a server that exists for its keys only. */
export async function signerOf(serverId: Id): Promise<SignerRecord> {
  const dataDir = await mkdtemp(join(tmpdir(), 'ws-signer-'));
  try {
    return (await createKeys(dataDir, serverId, Date.now())).signer;
  } finally {
    await rm(dataDir, { recursive: true });
  }
}
