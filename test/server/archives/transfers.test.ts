import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { newId } from '../../../core/ids.ts';
import { hashToken } from '../../../server/api/token.ts';
import { createArchive } from '../../../server/archives/create.ts';
import { type InspectedArchive, inspectArchive } from '../../../server/archives/inspect.ts';
import { listImages } from '../../../server/db/images.ts';
import { createOperatorToken } from '../../../server/db/operator-tokens.ts';
import { makeNode, type Node } from '../../helpers/control-sites.ts';
import { importDisk, makeDisk } from '../../helpers/replication-sites.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';
import { waitUntil } from '../../helpers/wait-until.ts';
import { type Answer, ask } from '../api/callers.ts';

const root = await temporaryDirectory('archive-transfers');
const at = (name: string) => join(root, name);
let hq: Node;
let branch: Node;
const tokens = new Map<Node, string>();

before(async () => {
  hq = await makeNode(root, 'hq');
  branch = await makeNode(root, 'branch', hq);
  for (const node of [hq, branch]) tokens.set(node, await administrator(node));
  await makeDisk(at('alpha.raw'), 2_000_000);
  await importDisk(hq.site, at('alpha.raw'), 'alpha');
});
after(async () => {
  await branch.close();
  await hq.close();
});

async function administrator({ site }: Node): Promise<string> {
  const token = `wst_${newId().replaceAll('-', '')}${newId().replaceAll('-', '')}`;
  const row = { id: newId(), name: 'test', hash: hashToken(token), role: 'administrator', createdAt: site.now(), expiresAt: null } as const;
  await createOperatorToken(site.db, row);
  return token;
}

type Sent = { readonly json?: unknown; readonly octets?: Buffer };

function call(node: Node, method: string, path: string, { json, octets }: Sent = {}): Promise<Answer> {
  const port = Number(new URL(node.serving?.httpsUrl ?? '').port);
  const type = octets === undefined ? 'application/json' : 'application/octet-stream';
  const body = octets ?? (json === undefined ? undefined : JSON.stringify(json));
  const caller = { token: tokens.get(node) ?? '' };
  return ask({
    port,
    tls: true,
    method,
    path: path.startsWith('../') ? `/api/v1/${path.slice(3)}` : `/api/v1/archives/${path}`,
    caller,
    ...(body === undefined ? {} : { body, headers: { 'content-type': type } }),
  });
}

type Ended = { readonly state: string; readonly result: Record<string, unknown>; readonly error: { code: string; message: string } | null };

async function follow(node: Node, started: Answer): Promise<Ended> {
  assert.equal(started.status, 200, started.text);
  let operation = started.json as Record<string, unknown>;
  return waitUntil('the operation ended', async () => {
    if (operation['state'] !== 'running') return operation as unknown as Ended;
    const asked = await call(node, 'GET', `../operations/${operation['id']}?after=${operation['revision']}`);
    operation = asked.json as Record<string, unknown>;
    return undefined;
  });
}

async function fetchFor(wish: unknown): Promise<{ made: Ended; file: Answer }> {
  const made = await follow(hq, await call(hq, 'POST', 'downloads', { json: wish }));
  assert.equal(made.state, 'done', JSON.stringify(made.error));
  return { made, file: await call(hq, 'GET', `downloads/${made.result['download']}`) };
}

async function inspect(octets: Buffer): Promise<InspectedArchive> {
  await writeFile(at('fetched.rad'), octets);
  return inspectArchive(at('fetched.rad'), { isVerified: true, report: () => undefined });
}

async function send(node: Node, octets: Buffer, pieceBytes: number): Promise<string> {
  const begun = await call(node, 'POST', 'uploads', { json: { sizeBytes: octets.length } });
  const id = String(begun.json?.['id']);
  for (let offset = 0; offset < octets.length; offset += pieceBytes) {
    const piece = await call(node, 'PUT', `uploads/${id}?offset=${offset}`, { octets: octets.subarray(offset, offset + pieceBytes) });
    assert.equal(piece.status, 200, piece.text);
  }
  return id;
}

const uploaded = async ({ site }: Node) => (await readdir(join(site.dataDir, 'store', 'tmp'))).filter((name) => name.startsWith('upload-'));

test('an archive for a child is made of what the child says it holds, and is the very file that the command makes', async () => {
  const { made, file } = await fetchFor({ server: 'branch' });
  assert.equal(file.headers['content-disposition'], `attachment; filename="hq-for-branch-${made.result['generation']}.rad"`);
  assert.deepEqual([file.octets.length, file.headers['content-length']], [made.result['sizeBytes'], String(made.result['sizeBytes'])]);
  const seen = await inspect(file.octets);
  assert.deepEqual([seen.verified, seen.images.map(({ name, isBrought }) => [name, isBrought])], [true, [['alpha', true]]]);
  await createArchive(hq.site, { path: at('command.rad'), want: [] });
  const command = await inspectArchive(at('command.rad'), { isVerified: true, report: () => undefined });
  assert.deepEqual(seen.parts, command.parts);
});

test('sent to the branch in pieces and loaded, its image is there; the file is not kept', async () => {
  const { file } = await fetchFor({ server: 'branch' });
  const id = await send(branch, file.octets, 300_000);
  const loaded = await follow(branch, await call(branch, 'POST', `uploads/${id}/load`, { json: {} }));
  assert.deepEqual([loaded.state, loaded.result['held'], loaded.result['incomplete']], ['done', true, []]);
  assert.deepEqual(
    (await listImages(branch.site.db)).map(({ name, state }) => [name, state]),
    [['alpha', 'published']],
  );
  assert.deepEqual(await uploaded(branch), []);
  const next = await fetchFor({ server: 'branch' });
  assert.deepEqual((await inspect(next.file.octets)).parts, [], 'it holds all of it now');
});

test('a table of contents that was brought serves as well; one that is none is refused in words', async () => {
  const toc = (await call(branch, 'GET', 'toc')).json;
  const { made } = await fetchFor({ toc, want: ['alpha'] });
  assert.match(String(made.result['fileName']), /^hq-for-branch-\d+\.rad$/);
  assert.match(String((await fetchFor({})).made.result['fileName']), /^hq-for-a-new-server-\d+\.rad$/);
  const wrong = await follow(hq, await call(hq, 'POST', 'downloads', { json: { toc: { name: '../../x' } } }));
  assert.deepEqual([wrong.state, wrong.error?.code], ['failed', 'bad_data']);
  assert.equal((await call(hq, 'POST', 'downloads', { json: { toc, server: 'branch' } })).json?.['code'], 'usage');
});

test('an archive waits to be fetched among the newest four, and is let go then', async () => {
  const all = [];
  for (let n = 0; n < 5; n++) all.push((await fetchFor({})).made.result['download']);
  const states = [];
  for (const id of all) states.push((await call(hq, 'GET', `downloads/${id}`)).status);
  assert.deepEqual(states, [404, 200, 200, 200, 200]);
});

test('pieces come in order, none is too long, and nothing is loaded before all is here', async () => {
  const octets = await readFile(at('command.rad'));
  const begun = await call(branch, 'POST', 'uploads', { json: { sizeBytes: octets.length } });
  const path = `uploads/${begun.json?.['id']}`;
  const codeOf = async (answer: Promise<Answer>) => (await answer).json?.['code'];
  assert.equal(await codeOf(call(branch, 'PUT', `${path}?offset=10`, { octets: octets.subarray(10, 20) })), 'wrong_state');
  assert.equal(await codeOf(call(branch, 'PUT', path, { octets })), 'usage');
  assert.equal(await codeOf(call(branch, 'PUT', `${path}?offset=0`, { octets: Buffer.concat([octets, octets]) })), 'bad_data');
  assert.equal(await codeOf(call(branch, 'POST', `${path}/load`, { json: {} })), 'wrong_state');
  assert.equal((await call(branch, 'GET', path)).json?.['doneBytes'], 0, 'a piece that was refused does not count');
  assert.equal((await call(branch, 'PUT', `${path}?offset=0`, { octets: octets.subarray(0, 1000) })).json?.['doneBytes'], 1000);
  assert.equal((await call(branch, 'DELETE', path)).status, 204);
  assert.equal(await codeOf(call(branch, 'GET', path)), 'not_found');
  assert.deepEqual(await uploaded(branch), []);
});

test('a file that is none is refused as the command refuses it, and is not kept', async () => {
  const octets = await readFile(at('command.rad'));
  octets.writeUInt8(octets.readUInt8(octets.length - 100) ^ 1, octets.length - 100);
  const id = await send(branch, octets, octets.length);
  const loaded = await follow(branch, await call(branch, 'POST', `uploads/${id}/load`, { json: {} }));
  assert.deepEqual([loaded.state, loaded.error?.code], ['failed', 'bad_data']);
  assert.deepEqual(await uploaded(branch), []);
});

test('what there is no room for is not begun, and no more than four uploads are under way', async () => {
  const huge = await call(branch, 'POST', 'uploads', { json: { sizeBytes: 2 ** 50 } });
  assert.deepEqual([huge.status, huge.json?.['code']], [507, 'disk_full']);
  const begun = [];
  for (let n = 0; n < 5; n++) begun.push((await call(branch, 'POST', 'uploads', { json: { sizeBytes: 10 } })).status);
  assert.deepEqual(begun, [200, 200, 200, 200, 503]);
});
