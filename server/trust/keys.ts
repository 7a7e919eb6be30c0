import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { Digest, Id } from '../../core/ids.ts';
import { spkiDigest } from '../../core/pin.ts';
import type { SignerRecord } from '../../core/sync-protocol.ts';
import { type CertifiedKey, createAuthority, issueClientLeaf, issueServerLeaf } from './certificates.ts';
import { brokenKeyFile, pemBlock, pemBlocks, readSecretFile, writeSecretFile } from './key-files.ts';
import { type ParentCredentials, readParentCredentials, removeParentCredentials, writeParentCredentials } from './parent-credentials.ts';
import { signerBytes } from './signatures.ts';

/**
 * The three keys of one server: the CA that everybody pins (20 years), the TLS leaf that it issues (90 days), and the
 * Ed25519 key that signs objects and catalogues. DIR/keys holds ca.key, ca.pem, leaf.pem (key and chain in one file,
 * so that a renewal is one rename), signing.key, and parent/<server id>.pem for what a parent issued to us.
 */
export type SiteKeys = {
  readonly serverId: Id;
  readonly caPem: string;
  /** SHA-256 of the CA's SPKI: the `fingerprint` that init prints. */
  readonly caPin: Digest;
  /** The TLS server certificate in force: chain (leaf, then CA) and key, PEM. */
  leaf(): CertifiedKey;
  /** Epoch ms between which the leaf is valid. */
  leafValidity(): { readonly from: number; readonly to: number };
  /** Replaces the leaf when half of its life is over (or `force`); true when it did. */
  renewLeaf(now: number, options?: { readonly force?: boolean }): Promise<boolean>;
  readonly signer: SignerRecord;
  readonly signerKeyId: Digest;
  /** Ed25519 over the bytes, base64. */
  sign(bytes: Uint8Array): string;
  /** A client certificate for the key in a PKCS#10 request, 90 days, with the key's id. Throws `bad_data`. */
  issueClientCertificate(csrPem: string, serverId: Id, now: number): Promise<{ readonly pem: string; readonly keyId: Digest }>;
  /** What a parent issued to us; without an id that of the only parent. */
  parentCredentials(parentId?: Id): ParentCredentials | undefined;
  /** Durable before it resolves; replaces what the same parent issued before. */
  storeParentCredentials(parentId: Id, credentials: ParentCredentials): Promise<void>;
  /** Forgets what a former parent issued; harmless when there is nothing. */
  dropParentCredentials(parentId: Id): Promise<void>;
};

const LABEL = 'PRIVATE KEY';

/** Makes all keys of a new server in DIR/keys and opens them. Existing files are overwritten: only `init` calls this. */
export async function createKeys(dataDir: string, serverId: Id, now: number): Promise<SiteKeys> {
  const paths = keyPaths(dataDir);
  const ca = await createAuthority(serverId, now);
  const signing = generateKeyPairSync('ed25519');
  await writeSecretFile(paths.caKey, ca.keyPem);
  await writeSecretFile(paths.ca, ca.certificatePem);
  await writeSecretFile(paths.signing, signing.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string);
  await writeLeaf(paths.leaf, ca, await issueServerLeaf(ca, serverId, now));
  return openKeys(dataDir, serverId);
}

/** Opens the keys of an initialised server. Throws `unreadable_secret` for a file that is missing, empty or not what it should be. */
export async function openKeys(dataDir: string, serverId: Id): Promise<SiteKeys> {
  const paths = keyPaths(dataDir);
  const ca = await readAuthority(paths);
  const caKey = privateKey(paths.caKey, ca.keyPem);
  const signing = privateKey(paths.signing, await readSecretFile(paths.signing), 'ed25519');
  const signer = signerRecord(serverId, ca.certificatePem, caKey, signing);
  const parents = await readParentCredentials(paths.parents);
  let leaf = await readLeaf(paths.leaf);
  return {
    serverId,
    caPem: ca.certificatePem,
    caPin: spkiDigest(createPublicKey(caKey)),
    signer,
    signerKeyId: signer.keyId as Digest,
    leaf: () => leaf,
    leafValidity: () => validityOf(leaf.certificatePem),
    renewLeaf: async (now, options = {}) => {
      if (!options.force && !isPastHalfLife(leaf.certificatePem, now)) return false;
      leaf = await writeLeaf(paths.leaf, ca, await issueServerLeaf(ca, serverId, now));
      return true;
    },
    sign: (bytes) => sign(null, bytes, signing).toString('base64'),
    issueClientCertificate: async (csrPem, subjectId, now) => {
      const pem = await issueClientLeaf(ca, csrPem, subjectId, now);
      return { pem, keyId: spkiDigest(new X509Certificate(pem).publicKey) };
    },
    parentCredentials: (parentId) => (parentId ? parents.get(parentId) : parents.size === 1 ? [...parents.values()][0] : undefined),
    storeParentCredentials: async (parentId, credentials) => {
      await writeParentCredentials(paths.parents, parentId, credentials);
      parents.set(parentId, credentials);
    },
    dropParentCredentials: async (parentId) => {
      parents.delete(parentId);
      await removeParentCredentials(paths.parents, parentId);
    },
  };
}

/** Whether a certificate's second half of life has begun (backdating included), or it is not valid at all. */
export function isPastHalfLife(certificatePem: string, now: number): boolean {
  const { from, to } = validityOf(certificatePem);
  return now < from || now >= from + (to - from) / 2;
}

function validityOf(certificatePem: string): { from: number; to: number } {
  const certificate = new X509Certificate(certificatePem);
  return { from: Date.parse(certificate.validFrom), to: Date.parse(certificate.validTo) };
}

function keyPaths(dataDir: string) {
  const at = (name: string) => join(dataDir, 'keys', name);
  return { caKey: at('ca.key'), ca: at('ca.pem'), leaf: at('leaf.pem'), signing: at('signing.key'), parents: at('parent') };
}

async function readAuthority(paths: { caKey: string; ca: string }): Promise<CertifiedKey> {
  const keyPem = await readSecretFile(paths.caKey);
  const certificatePem = await readSecretFile(paths.ca);
  const key = privateKey(paths.caKey, keyPem, 'ec');
  const certificate = readCertificate(paths.ca, certificatePem);
  if (!certificate.checkPrivateKey(key)) throw brokenKeyFile(paths.ca, `does not belong to ${paths.caKey}`);
  return { keyPem, certificatePem };
}

async function readLeaf(path: string): Promise<CertifiedKey> {
  const text = await readSecretFile(path);
  const keyPem = pemBlock(text, LABEL);
  const certificatePem = pemBlocks(text, 'CERTIFICATE').join('');
  if (!keyPem) throw brokenKeyFile(path, 'holds no private key');
  const certificate = readCertificate(path, certificatePem);
  if (!certificate.checkPrivateKey(privateKey(path, keyPem))) throw brokenKeyFile(path, 'holds a key and a certificate that do not match');
  return { keyPem, certificatePem };
}

async function writeLeaf(path: string, ca: CertifiedKey, leaf: CertifiedKey): Promise<CertifiedKey> {
  const certificatePem = `${leaf.certificatePem.trim()}\n${ca.certificatePem.trim()}\n`;
  const keyPem = `${leaf.keyPem.trim()}\n`;
  await writeSecretFile(path, keyPem + certificatePem);
  return { keyPem, certificatePem };
}

function signerRecord(serverId: Id, caPem: string, caKey: KeyObject, signing: KeyObject): SignerRecord {
  const publicKey = createPublicKey(signing);
  const record = {
    serverId,
    keyId: spkiDigest(publicKey),
    publicKey: publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
  };
  return { ...record, ca: caPem, signature: sign('sha256', signerBytes(record), caKey).toString('base64') };
}

function privateKey(path: string, pem: string, type?: 'ec' | 'ed25519'): KeyObject {
  try {
    const key = createPrivateKey(pem);
    if (type === undefined || key.asymmetricKeyType === type) return key;
  } catch (cause) {
    throw brokenKeyFile(path, 'holds no private key that can be read', cause);
  }
  throw brokenKeyFile(path, `holds a private key of another kind than ${type}`);
}

function readCertificate(path: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw brokenKeyFile(path, 'holds no certificate that can be read', cause);
  }
}
