import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Knex } from 'knex';
import { newId } from '../../../core/ids.ts';
import { createMetrics } from '../../../server/api/metrics.ts';
import { allRoutes } from '../../../server/api/routes/index.ts';
import { connectDatabase } from '../../../server/db/open.ts';
import { initialise } from '../../../server/initialise.ts';
import { diskImage, inventoryOf, MIB } from '../../agent/fixtures.ts';
import { waystation } from '../../helpers/lab/command.ts';
import { type LabServer, startServer } from '../../helpers/lab/server.ts';
import { startMariadb } from '../../helpers/mariadb.ts';
import { CLEAN_ENV, runCli, runJson } from '../../helpers/run-cli.ts';
import { ask, type Caller, selfMadeCertificate } from './callers.ts';
import { type Canary, keyCanaries, sing, textCanary } from './canaries.ts';
import { captureLoopback, startRelay, type Wire } from './wire.ts';

/**
 * Two real servers do all that handles a secret: operators sign in, a child enrols and replicates, an agent gets an order
 * with its nonce, a disk calls home; wrong secrets are tried as well. Then every place that others can read is searched
 * for the secrets: logs at level debug, all command lines, the boot trees, lists of the API, and the wire.
 */
const env = { WAYSTATION_DATASOURCES: '/nonexistent', WAYSTATION_LOG_LEVEL: 'debug' };
const ports = { httpPort: 0, httpsPort: 0, tftpPort: 0 };
const WRONG_OPERATOR = `wst_${'WrongOperatorCanary'.repeat(2)}abcde`;
const WRONG_NONCE = '5ecbe7ca4a57'.repeat(6).slice(0, 64);

let root: string;
let mariadb: Awaited<ReturnType<typeof startMariadb>>;
let hq: LabServer;
let branch: LabServer;
let branchDb: Knex;
const canaries: Canary[] = [];
const commandLines = new Set<string>();
const looked = new Map<string, number>();
const printed: string[] = [];
const publicAnswers: string[] = [];
const lists: string[] = [];
let relay: Wire;
let captures: { readonly own?: Wire | undefined; readonly database?: Wire | undefined } = {};
let sampler: NodeJS.Timeout;

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'ws-redaction-'));
  sampler = setInterval(() => void sampleCommandLines(), 25);
  mariadb = await startMariadb();
  await startBoth();
  await liveThroughIt();
});

after(async () => {
  clearInterval(sampler);
  await branchDb.destroy();
  await Promise.all([hq.stop(), branch.stop()]);
  await mariadb.stop();
  await rm(root, { recursive: true });
});

/** Looks often at what is new: between fork and exec a process still has its parent's command line. */
async function sampleCommandLines(): Promise<void> {
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const looks = looked.get(pid) ?? 0;
    if (looks >= 20) continue;
    looked.set(pid, looks + 1);
    // A process may end between the listing and the look.
    commandLines.add(await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''));
  }
}

/** Through the server's unix socket, without a process of its own. */
async function at<Document>(server: LabServer, ...argv: string[]): Promise<Document> {
  const { code, document } = await runJson<Document>(['--data', server.dataDir, ...argv]);
  assert.equal(code, 0, JSON.stringify(document));
  return document;
}

async function startBoth(): Promise<void> {
  const passwordFile = join(root, 'password');
  await writeFile(passwordFile, `${mariadb.password}\n`, { mode: 0o600 });
  mariadb.createDatabase('branch');
  const database = { hosts: [`127.0.0.1:${mariadb.port}`], user: 'waystation', name: 'branch', passwordFile };
  const atHq = await initialise({ dataDir: join(root, 'hq'), flags: { name: 'hq', ...ports }, env: CLEAN_ENV });
  const atBranch = await initialise({ dataDir: join(root, 'branch'), flags: { name: 'branch', database, ...ports }, env: CLEAN_ENV });
  canaries.push(
    textCanary('operator token of hq', atHq.token),
    textCanary('operator token of the branch', atBranch.token),
    textCanary('wrong operator token', WRONG_OPERATOR),
    textCanary('wrong nonce', WRONG_NONCE),
    textCanary('database password', mariadb.password),
  );
  hq = await startServer({ name: 'hq', dataDir: join(root, 'hq'), env });
  branch = await startServer({ name: 'branch', dataDir: join(root, 'branch'), env });
  branchDb = await connectDatabase({ database: 'sqlite' }, join(root, 'branch'));
  const own = [hq, branch].flatMap(({ addresses }) => [
    Number(new URL(addresses.httpUrl).port),
    Number(new URL(addresses.httpsUrl).port),
    addresses.tftpPort,
  ]);
  // The database's own connection is not ours to encrypt (`ca` does it); its password must not be on it all the same.
  captures = {
    own: await captureLoopback(own, join(root, 'own.pcap')),
    database: await captureLoopback([mariadb.port], join(root, 'db.pcap')),
  };
  await useOperatorTokens(atHq, atBranch);
  await passTokenOn(atHq.fingerprint);
}

/** One that was made later: printed once where it was asked for, used by a program of its own, and revoked. */
async function passTokenOn(fingerprint: string): Promise<void> {
  const file = join(root, 'later.token');
  await at(hq, 'token', 'create', 'later', '--role', 'administrator', '--file', file);
  const token = (await readFile(file, 'utf8')).trim();
  canaries.push(textCanary('operator token that was made later', token));
  const options = { env: { ...env, WAYSTATION_CA_PIN: fingerprint } };
  const used = await waystation(['--url', hq.addresses.httpsUrl, '--token-file', file, 'token', 'list'], options);
  assert.equal(used.code, 0, used.stderr);
  printed.push(used.stdout, used.stderr, JSON.stringify(await at(hq, 'token', 'revoke', 'later', '--yes')));
}

async function useOperatorTokens(...sites: { token: string; fingerprint: string }[]): Promise<void> {
  for (const [n, { token, fingerprint }] of sites.entries()) {
    const { httpsUrl } = (n === 0 ? hq : branch).addresses;
    const options = { env: { ...env, WAYSTATION_TOKEN: token, WAYSTATION_CA_PIN: fingerprint } };
    printed.push(JSON.stringify(await waystation(['--url', httpsUrl, 'server', 'list'], options)));
    const wrong = { env: { ...options.env, WAYSTATION_TOKEN: WRONG_OPERATOR } };
    const refused = await waystation(['--url', httpsUrl, 'server', 'list'], wrong);
    assert.equal(refused.code, 77);
    printed.push(refused.stdout, refused.stderr);
    const port = Number(new URL(httpsUrl).port);
    await readLists(port, { token });
    await readLists(port, { cookie: await signInAt(port, token) });
  }
}

/** As a browser does, once with a wrong token; what it gets is a secret as well. */
async function signInAt(port: number, token: string): Promise<string> {
  const post = (text: string) => {
    const headers = { 'content-type': 'application/json' };
    return ask({ port, tls: true, method: 'POST', path: '/api/v1/session', caller: {}, headers, body: JSON.stringify({ token: text }) });
  };
  const refused = await post(WRONG_OPERATOR);
  assert.equal(refused.status, 401);
  printed.push(refused.text);
  const [cookie = ''] = (await post(token)).headers['set-cookie']?.[0]?.split(';') ?? [];
  canaries.push(textCanary(`cookie of the console at ${port}`, cookie.split('=')[1] ?? ''));
  return cookie;
}

/** Every GET of the API that needs no name: what an administrator can list. */
async function readLists(port: number, caller: Caller): Promise<void> {
  for (const { method, path, listener } of allRoutes(createMetrics())) {
    if (method !== 'GET' || listener !== 'api' || /[:*]|sync\//.test(path)) continue;
    lists.push((await ask({ port, tls: true, method, path, caller })).text);
  }
}

async function liveThroughIt(): Promise<void> {
  const between = await startRelay(hq.addresses.httpsUrl);
  relay = between;
  await enrolThrough(between.url);
  canaries.push(...(await keyCanaries('hq', hq.dataDir)), ...(await keyCanaries('branch', branch.dataDir)));
  const image = join(root, 'disk.raw');
  await writeFile(image, diskImage(8 * MIB));
  await at(hq, 'image', 'import', image, '--name', 'demo');
  await at(branch, 'sync', 'run', '--wait');
  await deploy();
  await readBootTrees();
}

async function enrolThrough(url: string): Promise<void> {
  const { token } = await at<{ token: string }>(hq, 'server', 'token');
  const { secret } = JSON.parse(Buffer.from(token.slice(4), 'base64url').toString()) as { secret: string };
  canaries.push(textCanary('enrolment token', token), textCanary("enrolment token's secret", secret));
  const file = join(root, 'enrol-token');
  await writeFile(file, token, { mode: 0o600 });
  printed.push(JSON.stringify(await branch.json('server', 'join', url, '--enrol-file', file)));
  const again = await waystation(['server', 'join', url], { dataDir: branch.dataDir, env: { ...env, WAYSTATION_ENROL_TOKEN: token } });
  assert.equal(again.code, 77);
  printed.push(again.stdout, again.stderr);
}

async function deploy(): Promise<void> {
  const port = Number(new URL(branch.addresses.httpsUrl).port);
  const { id: targetId } = await at<{ id: string }>(
    branch,
    'target',
    'add',
    'box',
    '--mac',
    '52:54:00:00:00:01',
    '--firmware',
    'bios',
    '--arch',
    'amd64',
  );
  const { id: orderId } = await at<{ id: string }>(branch, 'order', 'create', '--target', 'box', '--image', 'demo');
  const bootId = newId();
  await branchDb('boots').insert({ id: bootId, target_id: targetId, what: 'engine', created_at: Date.now() });
  const { certificate } = await selfMadeCertificate();
  const headers = { 'content-type': 'application/json' };
  const post = async (path: string, body: unknown, caller = { certificate }) => {
    const answer = await ask({ port, tls: true, method: 'POST', path, caller, headers, body: JSON.stringify(body) });
    return { ...answer, json: answer.json as Record<string, unknown> & { task?: { firstBoot: { nonce: string } } } };
  };
  const inventory = inventoryOf({ sizeBytes: 16 * MIB });
  await post('/api/v1/agent/hello', { protocol: 1, bootId, agentVersion: 'test', inventory });
  const nonce = (await post('/api/v1/agent/next', {})).json.task?.firstBoot.nonce;
  assert.ok(nonce, 'the agent got its task');
  canaries.push(textCanary('nonce of the order', nonce));
  await post('/api/v1/agent/report', { orderId, event: 'verified' });
  const nobody = {} as { certificate: typeof certificate };
  assert.ok((await post('/api/v1/first-boot', { orderId, nonce: WRONG_NONCE }, nobody)).status >= 400);
  const home = await post('/api/v1/first-boot', { orderId, nonce }, nobody);
  assert.deepEqual(home.json, { state: 'current' });
  printed.push(JSON.stringify(await at(branch, 'order', 'show', orderId)), JSON.stringify(await at(branch, 'order', 'list')));
  printed.push((await runCli(['--data', branch.dataDir, 'logs'])).stdout);
}

/** All that anybody on the network may read without a proof. */
async function readBootTrees(): Promise<void> {
  for (const { addresses } of [hq, branch]) {
    for (const { path, listener } of allRoutes(createMetrics())) {
      if (listener !== 'boot') continue;
      const query = path.includes('script') ? '?mac=52:54:00:00:00:01&uuid=&arch=x86_64&platform=pcbios' : '';
      publicAnswers.push(await (await fetch(addresses.httpUrl + path.replaceAll(/[:*][a-z]+/gi, 'amd64') + query)).text());
    }
    for (const name of ['boot/amd64/undionly.kpxe', 'keys/ca.key', '../keys/ca.key', 'waystation.yaml']) {
      const url = `tftp://127.0.0.1:${addresses.tftpPort}/${name}`;
      publicAnswers.push(spawnSync('curl', ['-s', '--path-as-is', '--max-time', '5', url], { encoding: 'latin1' }).stdout);
    }
  }
}

function assertSilent(where: string, text: string | Buffer): void {
  const pile = typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
  assert.ok(pile.length > 0, `${where} is empty: nothing was searched`);
  assert.deepEqual(sing(canaries, pile), [], where);
}

test('the search finds a planted secret in each of its forms', () => {
  const sample = textCanary('sample', 'a secret of some length');
  for (const form of sample.forms) assert.deepEqual(sing([sample], Buffer.concat([Buffer.from('x'), form, Buffer.from('y')])), ['sample']);
  assert.deepEqual(sing([sample], Buffer.from('nothing of it')), []);
  assert.ok(canaries.length >= 14, canaries.map(({ name }) => name).join(', '));
});

test('no log line and nothing that serve printed holds a secret', async () => {
  for (const { dataDir } of [hq, branch]) {
    for (const file of await readdir(join(dataDir, 'log')))
      assertSilent(`${dataDir}/log/${file}`, await readFile(join(dataDir, 'log', file)));
    assert.deepEqual(sing(canaries, await readFile(`${dataDir}.serve.log`)), [], 'output of serve');
  }
});

test('no command line of any process held a secret while all this ran', () => {
  const lines = [...commandLines].join('\n');
  assert.match(lines, /rsync/, 'the sampler was fast enough to see rsync');
  assert.match(lines, /serve/);
  assertSilent('command lines', lines);
});

test('what commands print about servers, orders and failures holds no secret', () => {
  for (const text of printed) if (text !== '') assertSilent('printed', text);
});

test('nothing that an administrator can list holds a secret', () => {
  assert.ok(lists.length >= 10);
  for (const text of lists) if (text !== '') assertSilent('list', text);
});

test('boot scripts, boot files and everything else without a proof hold no secret', () => {
  assert.ok(publicAnswers.some((answer) => answer.startsWith('#!ipxe')));
  for (const answer of publicAnswers) if (answer !== '') assertSilent('public', answer);
});

test('the wire carried no secret in the clear', async () => {
  const [relayed, own, database] = await Promise.all([relay.stop(), captures.own?.stop(), captures.database?.stop()]);
  assertSilent('relay between branch and hq', relayed);
  if (own === undefined || database === undefined) return;
  assert.ok(own.includes('#!ipxe'), 'the capture saw the boot scripts');
  assertSilent('loopback', own);
  // The connection to the shared database is plain here (`ca` encrypts it): what servers tell one another holds no secret, and
  // signing in does not send the password even so.
  assert.ok(database.includes('shared_servers'), 'the capture saw the branch register');
  assertSilent('shared database', database);
});
