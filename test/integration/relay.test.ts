import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { digestOf, type Envelope, signedBytes } from '../../core/envelope.ts';
import { type Id, newId } from '../../core/ids.ts';
import type { Endorsement } from '../../core/sync-protocol.ts';
import { answerCatalogue, publishObject } from '../../server/catalogue.ts';
import { getLinkToParent } from '../../server/db/links.ts';
import { getObject, putObject, takeGeneration } from '../../server/db/objects.ts';
import type { Run } from '../../server/db/runs.ts';
import { getServer } from '../../server/db/servers.ts';
import { saveSigner } from '../../server/db/signers.ts';
import { listAncestors } from '../../server/db/trusted-servers.ts';
import { deleteImage } from '../../server/images/delete.ts';
import { verifyCatalogue } from '../../server/replication/verify-catalogue.ts';
import { runOnce } from '../../server/replication.ts';
import { type Serving, startServe } from '../../server/serve.ts';
import type { Site } from '../../server/site.ts';
import { endorsementBytes } from '../../server/trust/signatures.ts';
import { enrolAt, importDisk, makeDisk, makeSite, reopenSite } from '../helpers/replication-sites.ts';
import { runWhileServing } from '../helpers/served-run.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { signerOf } from '../server/api/signer.ts';

/** hq → relay → branch, all real; hq and relay listen. */
const root = await temporaryDirectory('relay');
let hq: Site;
let relay: Site;
let branch: Site;
const open: (() => Promise<void>)[] = [];

async function serve(site: Site): Promise<Serving> {
  const serving = await startServe(site);
  open.push(() => serving.close());
  return serving;
}

async function site(name: string): Promise<Site> {
  const made = await makeSite(root, name);
  open.push(() => made.close());
  return made;
}

before(async () => {
  hq = await site('hq');
  relay = await site('relay');
  branch = await site('branch');
  await enrolAt(hq, relay, (await serve(hq)).httpsUrl);
  await enrolAt(relay, branch, (await serve(relay)).httpsUrl);
});
after(async () => {
  for (const close of open.reverse()) await close();
});

const run = (at: Site): Promise<Run> => (at === relay ? runWhileServing(at) : runOnce(at, { trigger: 'command' }));
const note = (at: Site, text: string, id?: Id) =>
  at.db.transaction((trx) => publishObject(at, trx, { kind: 'document', ...(id === undefined ? {} : { id }), body: { note: text } }));

/** What the branch makes of an answer of the relay that was changed on the way by the relay itself. */
async function judge(change: { objects?: readonly Envelope[]; endorsements?: readonly Endorsement[]; signers?: unknown[] }) {
  const [parent, link] = [await getServer(branch.db, relay.self.id), await getLinkToParent(branch.db, relay.self.id)];
  assert.ok(parent && link);
  const made = change.objects ?? [];
  await relay.db.transaction(async (trx) => {
    for (const object of made) await putObject(trx, object, await takeGeneration(trx));
  });
  const answer = await answerCatalogue(relay, { epoch: link.heldEpoch, since: link.heldGeneration });
  for (const { id } of made) await relay.db('objects').where({ id }).delete();
  const signers = [...answer.signers, ...(change.signers ?? [])];
  return verifyCatalogue(branch, { parent, link }, { ...answer, signers, endorsements: change.endorsements ?? answer.endorsements });
}

/** An object as `origin` would have made it, signed with a key of the one that forges it. */
function signedBy(forger: Site, origin: Id, keyId = forger.keys.signerKeyId): Envelope {
  const body = { note: 'forged' };
  const unsigned = { kind: 'document', id: newId(), origin, revision: 1, digest: digestOf(body), keyId } as const;
  return { ...unsigned, body, signature: forger.keys.sign(signedBytes(unsigned)) };
}

test('an image of the master reaches the branch through the relay, byte for byte as the master signed it', async () => {
  await makeDisk(join(root, 'disk.raw'), 1_000_000);
  const image = await importDisk(hq, join(root, 'disk.raw'));
  for (const at of [relay, branch]) {
    const done = await run(at);
    assert.deepEqual([done.state, done.error], ['done', null]);
  }
  const signed = await getObject(hq.db, image.id);
  assert.deepEqual(await getObject(branch.db, image.id), signed);
  assert.equal(signed?.keyId, hq.keys.signerKeyId);
});

test('a branch pins the servers above its parent when it enrols', async () => {
  assert.deepEqual(await listAncestors(branch.db), [{ serverId: hq.self.id, name: 'hq', caPin: hq.keys.caPin }]);
  assert.deepEqual(await listAncestors(relay.db), []);
});

test("a copy is not deleted at the branch: the refusal names the server that made it, though it is not the branch's parent", async () => {
  await assert.rejects(deleteImage(branch, 'debian', 'test'), {
    code: 'not_permitted',
    message: `image debian@1 belongs to server hq (${hq.self.id}) and is a copy here`,
  });
});

test('a relay that signs an object in the name of the master is refused', async () => {
  await assert.rejects(judge({ objects: [signedBy(relay, hq.self.id)] }), { code: 'bad_signature' });
});

test('nor does it help that its own CA vouches for the key as one of the master', async () => {
  const forged = signedBy(relay, hq.self.id);
  const claimed = await signerOf(hq.self.id, relay.keys.signer);
  await assert.rejects(judge({ objects: [forged], signers: [claimed] }), { code: 'bad_signature' });
});

test('nor that it says the master had enrolled with it, under another CA', async () => {
  const forger = await signerOf(hq.self.id);
  const caPin = `sha256:${'1'.repeat(64)}`;
  const said = { endorser: relay.self.id, serverId: hq.self.id, name: 'hq', caPin };
  const endorsement = { ...said, keyId: relay.keys.signerKeyId, signature: relay.keys.sign(endorsementBytes(said)) };
  const object = signedBy(relay, hq.self.id, forger.keyId as Envelope['keyId']);
  await assert.rejects(judge({ objects: [object], signers: [forger], endorsements: [endorsement] }), { code: 'bad_signature' });
  assert.equal((await listAncestors(branch.db))[0]?.caPin, hq.keys.caPin);
});

test('an endorsement that the endorser did not sign is refused, and so is one that vouches for itself', async () => {
  const stranger = await site('stranger');
  const endorse = (endorser: Site, keys: Site) => {
    const said = { endorser: endorser.self.id, serverId: stranger.self.id, name: 'stranger', caPin: stranger.keys.caPin };
    return { ...said, keyId: endorser.keys.signerKeyId, signature: keys.keys.sign(endorsementBytes(said)) };
  };
  const objects = [signedBy(stranger, stranger.self.id)];
  const signers = [stranger.keys.signer];
  for (const endorsements of [[], [endorse(hq, relay)], [endorse(stranger, stranger)]]) {
    await assert.rejects(judge({ objects, signers, endorsements }), { code: 'bad_signature' });
  }
});

test('an object of one branch reaches another one below the same relay, because the relay vouches for it', async () => {
  const sibling = await site('sibling');
  await enrolAt(relay, sibling, (await getServer(branch.db, relay.self.id))?.url ?? '');
  const made = await note(sibling, 'from the sibling');
  // As it would have come up: the relay holds it unchanged, with its signer.
  await relay.db.transaction(async (trx) => putObject(trx, made, await takeGeneration(trx)));
  await saveSigner(relay.db, sibling.keys.signer, relay.now());
  const done = await run(branch);
  assert.deepEqual([done.state, done.error], ['done', null]);
  assert.deepEqual(await getObject(branch.db, made.id), made);
});

test('an object of the branch is believed at the master: the master vouches for the relay, the relay for the branch', async () => {
  const made = await note(branch, 'from below');
  await relay.db.transaction(async (trx) => putObject(trx, made, await takeGeneration(trx)));
  await saveSigner(relay.db, branch.keys.signer, relay.now());
  const answer = await answerCatalogue(relay, { epoch: 0, since: 0 });
  const child = await getServer(hq.db, relay.self.id);
  assert.ok(child);
  const link = { heldEpoch: 0, heldGeneration: 0 } as Parameters<typeof verifyCatalogue>[1]['link'];
  const { objects } = await verifyCatalogue(hq, { parent: child, link }, answer);
  assert.ok(objects.some(({ id }) => id === made.id));
});

test('after a server got a new signing key, old and new objects are believed at a branch that knows neither', async () => {
  const { privateKey } = generateKeyPairSync('ed25519');
  const path = join(root, 'rotated', 'keys', 'signing.key');
  const rotated = await makeSite(root, 'rotated');
  const before = await note(rotated, 'before');
  await rotated.close();
  const former = await readFile(path, 'utf8');
  await writeFile(path, privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, { mode: 0o600 });
  assert.notEqual(await readFile(path, 'utf8'), former);
  const again = await reopenSite(root, 'rotated');
  const listening = await startServe(again);
  const child = await makeSite(root, 'child-of-rotated');
  try {
    await enrolAt(again, child, listening.httpsUrl);
    const afterwards = await note(again, 'after');
    const done = await run(child);
    assert.deepEqual([done.state, done.error], ['done', null]);
    for (const made of [before, afterwards]) assert.deepEqual(await getObject(child.db, made.id), made);
    assert.notEqual(before.keyId, afterwards.keyId);
  } finally {
    await child.close();
    await listening.close();
    await again.close();
  }
});
