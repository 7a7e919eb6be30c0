import 'reflect-metadata';
import { createPrivateKey, createPublicKey, webcrypto } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { X509CertificateGenerator } from '@peculiar/x509';
import type { Digest } from '../core/ids.ts';
import { spkiDigest } from '../core/pin.ts';

/** The agent's key pair and self-made client certificate, PEM. The key is the identity; the certificate only carries it. */
export type AgentIdentity = { readonly keyId: Digest; readonly key: string; readonly certificate: string };

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const FILE = 'agent-identity.pem';

/**
 * The identity of this boot: made when the agent starts for the first time, and found again in `directory`
 * (memory, not disk) when it was killed and started again. So it never outlives the boot it was made in.
 */
export async function openIdentity(directory: string): Promise<AgentIdentity> {
  const path = join(directory, FILE);
  const found = await readIdentity(path);
  if (found !== undefined) return found;
  const identity = await makeIdentity();
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await writeFile(`${path}.new`, identity.key + identity.certificate, { mode: 0o600 });
  await rename(`${path}.new`, path);
  return identity;
}

/** Dates span everything, because the machine's clock may say anything and the server looks at the key alone. */
export async function makeIdentity(): Promise<AgentIdentity> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: 'CN=waystation agent',
    notBefore: new Date('2000-01-01T00:00:00Z'),
    notAfter: new Date('2049-12-31T23:59:59Z'),
    signingAlgorithm: ALGORITHM,
    keys,
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }).export({ type: 'pkcs8', format: 'pem' }) as string;
  return identityOf(key, `${certificate.toString('pem')}\n`);
}

function identityOf(key: string, certificate: string): AgentIdentity {
  return { keyId: spkiDigest(createPublicKey(createPrivateKey(key))), key, certificate };
}

async function readIdentity(path: string): Promise<AgentIdentity | undefined> {
  try {
    const [key, certificate] = (await readFile(path, 'utf8')).split(/(?=-----BEGIN CERTIFICATE-----)/);
    return key && certificate ? identityOf(key, certificate) : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
