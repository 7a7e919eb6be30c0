import assert from 'node:assert/strict';
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { digestOf, signedBytes } from '../../../core/envelope.ts';
import { AppError } from '../../../core/errors.ts';
import { type Digest, newId } from '../../../core/ids.ts';
import { checkPinnedChain, spkiDigest } from '../../../core/pin.ts';
import { createRequest } from '../../../server/trust/certificates.ts';
import { createKeys, openKeys } from '../../../server/trust/keys.ts';
import { catalogueBytes, objectsDigest, verifyCatalogueHead, verifyEnvelope, verifySigner } from '../../../server/trust/signatures.ts';

const root = await mkdtemp(join(tmpdir(), 'ws-keys-'));
after(() => rm(root, { recursive: true }));
const DAY = 86_400_000;

async function freshKeys(now = Date.now()) {
  const dataDir = await mkdtemp(join(root, 'site-'));
  const serverId = newId();
  return { dataDir, serverId, keys: await createKeys(dataDir, serverId, now) };
}

function chainOf(pem: string): Buffer[] {
  return (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map((block) => new X509Certificate(block).raw);
}

const hasCode = (code: string) => (error: unknown) => error instanceof AppError && error.code === code;

test('a certificate starts 48 hours before it is issued, a leaf ends after 90 days, the CA after 20 years', async () => {
  const now = Date.UTC(2026, 5, 1);
  const { keys } = await freshKeys(now);
  const { from, to } = keys.leafValidity();
  assert.equal(from, now - 2 * DAY);
  assert.equal(to, now + 90 * DAY);
  assert.equal(Date.parse(new X509Certificate(keys.caPem).validTo), now + 20 * 365 * DAY);
  assert.equal(keys.caPin, spkiDigest(new X509Certificate(keys.caPem).publicKey));
});

test('key files are readable by their owner only and a reopened site has the same keys', async () => {
  const { dataDir, serverId, keys } = await freshKeys();
  for (const file of await readdir(join(dataDir, 'keys'))) {
    assert.equal((await stat(join(dataDir, 'keys', file))).mode & 0o777, 0o600, file);
  }
  const again = await openKeys(dataDir, serverId);
  assert.equal(again.caPin, keys.caPin);
  assert.equal(again.signerKeyId, keys.signerKeyId);
  assert.equal(again.sign(Buffer.from('x')), keys.sign(Buffer.from('x')));
});

test('a missing, empty or foreign key file is an unreadable secret that is named and never replaced', async () => {
  for (const name of ['ca.key', 'ca.pem', 'leaf.pem', 'signing.key']) {
    const { dataDir, serverId } = await freshKeys();
    const path = join(dataDir, 'keys', name);
    for (const content of ['', 'rubbish', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n', undefined]) {
      if (content === undefined) await rm(path);
      else await writeFile(path, content);
      await assert.rejects(openKeys(dataDir, serverId), (error) => hasCode('unreadable_secret')(error) && String(error).includes(path));
    }
    await assert.rejects(stat(path));
  }
});

test('the leaf is renewed at half of its life with a new key and the same CA', async () => {
  const now = Date.UTC(2026, 5, 1);
  const { dataDir, serverId, keys } = await freshKeys(now);
  const before = keys.leaf();
  assert.equal(await keys.renewLeaf(now + 43 * DAY), false);
  assert.equal(await keys.renewLeaf(now + 45 * DAY), true);
  assert.notEqual(keys.leaf().keyPem, before.keyPem);
  assert.equal((await openKeys(dataDir, serverId)).leaf().certificatePem, keys.leaf().certificatePem);
  checkPinnedChain(chainOf(keys.leaf().certificatePem), keys.caPin, { now: now + 45 * DAY });
});

test('a pinned chain is refused for another CA, for a client certificate, and when expired unless dates are ignored', async () => {
  const now = Date.now();
  const { keys } = await freshKeys(now);
  const other = await freshKeys(now);
  const chain = chainOf(keys.leaf().certificatePem);
  assert.equal(spkiDigest(checkPinnedChain(chain, keys.caPin, { now }).publicKey), keys.caPin);
  assert.throws(() => checkPinnedChain(chain, other.keys.caPin, { now }), hasCode('denied'));
  assert.throws(() => checkPinnedChain([], keys.caPin, { now }), hasCode('denied'));
  assert.throws(() => checkPinnedChain([Buffer.from('no')], keys.caPin, { now }), hasCode('denied'));
  // The right CA beside a leaf that it did not issue.
  const mixed = [chainOf(other.keys.leaf().certificatePem)[0] as Buffer, chain[1] as Buffer];
  assert.throws(() => checkPinnedChain(mixed, keys.caPin, { now }), hasCode('denied'));
  assert.throws(() => checkPinnedChain(chain, keys.caPin, { now: now + 91 * DAY }), hasCode('expired'));
  assert.throws(() => checkPinnedChain(chain, keys.caPin, { now: now - 3 * DAY }), hasCode('expired'));
  checkPinnedChain(chain, keys.caPin, { now: now + 9000 * DAY, ignoreDates: true });
  const { csrPem } = await createRequest(newId());
  const client = await keys.issueClientCertificate(csrPem, newId(), now);
  assert.throws(() => checkPinnedChain([...chainOf(client.pem), chain[1] as Buffer], keys.caPin, { now }), hasCode('denied'));
});

test('a certificate request that is not signed by its key or is rubbish is bad data', async () => {
  const { keys } = await freshKeys();
  await assert.rejects(keys.issueClientCertificate('rubbish', newId(), Date.now()), hasCode('bad_data'));
  const { csrPem } = await createRequest(newId());
  const der = Buffer.from(csrPem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
  der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
  const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
  await assert.rejects(keys.issueClientCertificate(forged, newId(), Date.now()), hasCode('bad_data'));
});

test('parent credentials survive a reopening and a damaged file is an unreadable secret', async () => {
  const { dataDir, serverId, keys } = await freshKeys();
  assert.equal(keys.parentCredentials(), undefined);
  const parent = await freshKeys();
  const { keyPem, csrPem } = await createRequest(serverId);
  const issued = await parent.keys.issueClientCertificate(csrPem, serverId, Date.now());
  await keys.storeParentCredentials(parent.serverId, { keyPem, certPem: issued.pem, caPem: parent.keys.caPem });
  const again = await openKeys(dataDir, serverId);
  assert.equal(again.parentCredentials()?.caPem.trim(), parent.keys.caPem.trim());
  assert.equal(again.parentCredentials(parent.serverId)?.keyPem.trim(), keyPem.trim());
  await writeFile(join(dataDir, 'keys', 'parent', `${parent.serverId}.pem`), '');
  await assert.rejects(openKeys(dataDir, serverId), hasCode('unreadable_secret'));
});

test('a signer is believed only with the right pin, key id and CA signature', async () => {
  const { keys } = await freshKeys();
  const other = await freshKeys();
  verifySigner(keys.signer, keys.caPin);
  assert.throws(() => verifySigner(keys.signer, other.keys.caPin), hasCode('bad_signature'));
  for (const change of [
    { serverId: newId() },
    { keyId: other.keys.signerKeyId },
    { publicKey: other.keys.signer.publicKey },
    { publicKey: 'AAAA' },
    { ca: 'no' },
    { signature: other.keys.signer.signature },
  ]) {
    assert.throws(
      () => verifySigner({ ...keys.signer, ...change }, keys.caPin),
      hasCode('bad_signature'),
      JSON.stringify(change).slice(0, 40),
    );
  }
});

test('an object counts only with its origin, body and signature as signed', async () => {
  const { keys, serverId } = await freshKeys();
  const other = await freshKeys();
  const plain = {
    kind: 'document' as const,
    id: newId(),
    origin: serverId,
    revision: 1,
    digest: digestOf({ a: 1 }),
    keyId: keys.signerKeyId,
  };
  const envelope = { ...plain, body: { a: 1 }, signature: keys.sign(signedBytes(plain)) };
  verifyEnvelope(envelope, keys.signer);
  for (const change of [{ body: { a: 2 } }, { origin: other.serverId }, { revision: 2 }, { id: newId() }, { kind: 'image' as const }]) {
    assert.throws(() => verifyEnvelope({ ...envelope, ...change }, keys.signer), hasCode('bad_signature'), JSON.stringify(change));
  }
  assert.throws(() => verifyEnvelope(envelope, other.keys.signer), hasCode('bad_signature'));
});

test('a catalogue counts only with the head that was signed and the objects it speaks of', async () => {
  const { keys, serverId } = await freshKeys();
  const head = { serverId, epoch: 1, generation: 2, since: 0, issuedAt: 1, expiresAt: 2, objectsDigest: objectsDigest([]) };
  const catalogue = { protocol: 1, head, keyId: keys.signerKeyId, signature: keys.sign(catalogueBytes(head)), signers: [], objects: [] };
  verifyCatalogueHead(catalogue, keys.signer);
  assert.throws(() => verifyCatalogueHead({ ...catalogue, head: { ...head, generation: 3 } }, keys.signer), hasCode('bad_signature'));
  const digest = `sha256:${createHash('sha256').digest('hex')}` as Digest;
  const object = { kind: 'image' as const, id: newId(), origin: serverId, revision: 1, body: null, digest, keyId: digest, signature: '' };
  assert.throws(() => verifyCatalogueHead({ ...catalogue, objects: [object] }, keys.signer), hasCode('bad_signature'));
});

test('two servers share no key, pin or secret', async () => {
  const [a, b] = [await freshKeys(), await freshKeys()];
  for (const name of ['ca.key', 'leaf.pem', 'signing.key']) {
    const secrets = await Promise.all(
      [a, b].map(async ({ dataDir }) => createPrivateKey(await readFile(join(dataDir, 'keys', name), 'utf8')).export({ format: 'jwk' }).d),
    );
    assert.ok(secrets[0] && secrets[1]);
    assert.notEqual(secrets[0], secrets[1], name);
  }
  assert.notEqual(a.keys.caPin, b.keys.caPin);
  assert.notEqual(a.keys.signerKeyId, b.keys.signerKeyId);
});
