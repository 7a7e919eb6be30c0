import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { canonicalJson } from '../../core/canonical-json.ts';
import { createFrameParser } from '../../core/content/frame-reader.ts';
import type { ArchivePlan, Catalogue } from '../../core/sync-protocol.ts';
import { getServer, updateServer } from '../../server/db/servers.ts';
import { runOnce } from '../../server/replication.ts';
import { pinnedJson } from '../../server/trust/pinned-request.ts';
import { type PinnedAgent, pinnedAgent } from '../../server/trust/pinned-tls.ts';
import { PART_HEADER_BYTES, PART_TRAILER_BYTES } from '../../sync/content/part-format.ts';
import { type LyingParent, startLyingParent } from '../helpers/hostile/lying-parent.ts';
import { importDisk, makeDisk, makePair } from '../helpers/replication-sites.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

/*
 * What release 0.1 sends and reads, written down once: its requests as they went over the wire, and its schemas, which
 * dropped members that they did not know. Nothing here is imported from what has grown since.
 */
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const count = z.number().int().nonnegative();
const Head = z.object({
  serverId: z.string(),
  epoch: count,
  generation: count,
  since: count,
  issuedAt: z.number().int(),
  expiresAt: z.number().int(),
  objectsDigest: digest,
});
const Object01 = z.object({
  kind: z.enum(['image', 'document']),
  id: z.string().regex(/^[0-9a-f-]{36}$/),
  origin: z.string(),
  revision: z.number().int().positive(),
  body: z.json(),
  digest,
  keyId: digest,
  signature: z.string().max(128),
});
const Signer = z.object({
  serverId: z.string(),
  keyId: digest,
  publicKey: z.string().max(512),
  ca: z.string(),
  signature: z.string().max(256),
});
const Catalogue01 = z.object({
  protocol: z.literal(1),
  head: Head,
  keyId: digest,
  signature: z.string().max(128),
  signers: z.array(Signer).max(1000),
  objects: z.array(Object01),
});
const Plan01 = z.object({
  key: z.string().regex(/^[0-9a-f]{64}$/),
  state: z.literal('ready'),
  doneBytes: count,
  totalBytes: count,
  parts: z.array(z.object({ name: z.string().regex(/^[0-9a-f]{64}$/), sizeBytes: count.positive(), rawBytes: count, frames: count })),
});

const root = await temporaryDirectory('release-01');
const manifests: string[] = [];
let pair: Awaited<ReturnType<typeof makePair>>;
let agent: PinnedAgent;
let parent: LyingParent;

before(async () => {
  pair = await makePair(root);
  const disk = await makeDisk(join(root, 'disk.raw'), 1_000_000);
  manifests.push((await importDisk(pair.hq, join(root, 'disk.raw'))).manifest);
  // An octet of each block of half of it changes: what a delta frame is for.
  for (let at = 1_200_000; at < 1_700_000; at += 4096) disk[at] = ((disk[at] ?? 0) + 1) % 256;
  await writeFile(join(root, 'disk.raw'), disk);
  manifests.push((await importDisk(pair.hq, join(root, 'disk.raw'))).manifest);
  const credentials = pair.branch.keys.parentCredentials(pair.hq.self.id);
  assert.ok(credentials);
  agent = pinnedAgent({ pin: pair.hq.keys.caPin, cert: credentials.certPem, key: credentials.keyPem });
  parent = await startLyingParent(pair.hq);
});
after(async () => {
  agent.destroy();
  await parent.close();
  await pair.close();
});

const ask = (path: string, json?: unknown) =>
  pinnedJson(agent, {
    url: `${pair.serving.httpsUrl}${path}`,
    ...(json === undefined ? {} : { json }),
    limits: { bytes: 1e7, values: 1e6 },
  });

test('a child of release 0.1 reads our catalogue, and the signature over what it knows of the head holds', async () => {
  const answer = Catalogue01.parse(await ask('/api/v1/sync/catalogue?protocol=1&epoch=0&since=0'));
  const signer = answer.signers.find(({ keyId }) => keyId === answer.keyId);
  assert.ok(signer);
  const key = createPublicKey({ key: Buffer.from(signer.publicKey, 'base64'), format: 'der', type: 'spki' });
  const signed = (words: string, value: object) => Buffer.from(`${words}\n${canonicalJson(value as never)}`);
  assert.ok(verify(null, signed('waystation-catalogue-1', answer.head), key, Buffer.from(answer.signature, 'base64')));
  for (const { body: _, signature, ...rest } of answer.objects) {
    assert.ok(verify(null, signed('waystation-object-1', rest), key, Buffer.from(signature, 'base64')));
  }
  assert.equal(answer.objects.filter(({ kind }) => kind === 'image').length, 2);
});

test('a child of release 0.1 gets plain frames only, also where it holds a base for delta frames', async () => {
  assert.deepEqual((await encodingsOf({})).includes('zstd-base'), false);
  assert.deepEqual((await encodingsOf({ encodings: ['raw', 'zstd', 'zstd-base'] })).includes('zstd-base'), true);
});

/** The encodings of the frames that we offer for the second version on top of the first. */
async function encodingsOf(more: object): Promise<string[]> {
  const [have, want] = manifests;
  const plan = Plan01.parse(await ask('/api/v1/sync/archives', { protocol: 1, have: [have], want: [want], ...more }));
  const found = new Set<string>();
  for (const { name, sizeBytes } of plan.parts) {
    const octets = await readFile(join(pair.hq.dataDir, 'store', 'archives', plan.key, name));
    assert.equal(octets.length, sizeBytes);
    const parser = createFrameParser();
    for (const { header } of parser.push(octets.subarray(PART_HEADER_BYTES, octets.length - PART_TRAILER_BYTES)))
      found.add(header.encoding);
  }
  assert.ok(found.size > 0);
  return [...found];
}

test('a child that speaks only protocols of the future is refused in words', async () => {
  const refused = ask('/api/v1/sync/catalogue?protocol=7&newest=9&epoch=0&since=0');
  await assert.rejects(refused, { code: 'version_mismatch', message: /7 to 9.*this server 1/ });
});

test('our child replicates from a parent of release 0.1', async () => {
  const row = await getServer(pair.branch.db, pair.hq.self.id);
  assert.ok(row);
  await updateServer(pair.branch.db, { ...row, url: parent.url });
  const only = (answer: Catalogue | ArchivePlan, schema: z.ZodType) => schema.parse(answer);
  parent.tell({
    answer: (request, response) => {
      const query = new URL(request.url ?? '/', 'https://host.invalid').searchParams;
      const isKnown = /\/(catalogue|archives)/.test(request.url ?? '') && (query.get('protocol') ?? '1') === '1';
      if (!isKnown)
        response.writeHead(404, { 'content-type': 'application/problem+json' }).end('{"code":"not_found","detail":"nothing here"}');
      return !isKnown;
    },
    catalogue: (honest) => only(honest, Catalogue01),
    plan: (honest) => only(honest, Plan01),
  });
  const ended = await runOnce(pair.branch, { trigger: 'command' });
  assert.deepEqual([ended.state, ended.error], ['done', null]);
  for (const manifest of manifests) assert.deepEqual((await pair.branch.store.verifyImage(manifest as never)).damages, []);
});
