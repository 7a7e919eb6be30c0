import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { initialise } from '../../../server/initialise.ts';
import { type LabServer, startServer } from '../../helpers/lab/server.ts';
import { CLEAN_ENV, runCli, runJson } from '../../helpers/run-cli.ts';
import { startServeProcess } from '../../helpers/serve-process.ts';

/** The command line against a real serve process: what an operator meets, with exit codes. */
let root: string;
let hq: LabServer;
const env = { WAYSTATION_DATASOURCES: '/nonexistent' };
const ports = { httpPort: 0, httpsPort: 0, tftpPort: 0 };

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'ws-serve-'));
  hq = await start('hq');
});
after(async () => {
  await hq.stop();
  await rm(root, { recursive: true });
});

async function makeDirectory(name: string): Promise<{ dataDir: string; token: string; fingerprint: string }> {
  const dataDir = join(root, name);
  const { token, fingerprint } = await initialise({ dataDir, flags: { name, ...ports }, env: CLEAN_ENV });
  return { dataDir, token, fingerprint };
}

async function start(name: string): Promise<LabServer & { token: string; fingerprint: string }> {
  const made = await makeDirectory(name);
  return { ...(await startServer({ name, dataDir: made.dataDir, env })), ...made };
}

function enrolToken(ttl = '1h'): Promise<string> {
  return atHq<{ token: string }>('server', 'token', '--ttl', ttl).then(({ token }) => token);
}

/** Through hq's unix socket, without a process of its own. */
async function atHq<Document>(...argv: string[]): Promise<Document> {
  const { code, document } = await runJson<Document>(['--data', hq.dataDir, ...argv]);
  assert.equal(code, 0, JSON.stringify(document));
  return document;
}

type Failure = { error: { code: string; message: string; hint: string } };

async function failure(argv: readonly string[], options: { env?: NodeJS.ProcessEnv; stdin?: string } = {}) {
  const { code, document } = await runJson<Failure>(argv, options);
  return { exit: code, ...document.error };
}

test('a server joins offline with a token file, and running with the token on standard input', async () => {
  const { dataDir } = await makeDirectory('offline');
  const file = join(root, 'token');
  await writeFile(file, `${await enrolToken()}\n`, { mode: 0o600 });
  const joined = await runJson<{ name: string; relation: string }>([
    '--data',
    dataDir,
    'server',
    'join',
    hq.addresses.httpsUrl,
    '--enrol-file',
    file,
  ]);
  assert.deepEqual([joined.code, joined.document.name, joined.document.relation], [0, 'hq', 'parent']);
  const online = await start('online');
  try {
    const argv = ['--data', online.dataDir, 'server', 'join', hq.addresses.httpsUrl, '--enrol-file', '-'];
    assert.equal((await runCli(argv, { stdin: `${await enrolToken()}\n` })).code, 0);
  } finally {
    await online.stop();
  }
  const { items } = await atHq<{ items: { name: string; relation: string }[] }>('server', 'list');
  assert.deepEqual(
    items.map(({ name, relation }) => `${name} ${relation}`),
    ['hq self', 'offline child', 'online child'],
  );
});

test('a wrong, a used and an expired token and a taken name end with their code, and nothing is left at the child', async () => {
  const { dataDir } = await makeDirectory('bad-input');
  const join = ['--data', dataDir, 'server', 'join', hq.addresses.httpsUrl];
  const withToken = (token: string) => failure(join, { env: { WAYSTATION_ENROL_TOKEN: token } });
  assert.deepEqual([(await failure(join)).exit, (await failure(join)).code], [64, 'usage']);
  assert.deepEqual([(await withToken('wse_rubbish')).exit, (await withToken('wse_rubbish')).code], [77, 'token_wrong']);

  const late = await enrolToken('1s');
  await new Promise((resolve) => setTimeout(resolve, 1100));
  const expired = await withToken(late);
  assert.deepEqual([expired.exit, expired.code], [77, 'token_expired']);
  assert.match(expired.hint, /server token/);

  const twin = join.with(1, (await namedLike('hq')).dataDir);
  const taken = await failure(twin, { env: { WAYSTATION_ENROL_TOKEN: await enrolToken() } });
  assert.deepEqual([taken.exit, taken.code], [65, 'name_taken']);
  for (const directory of [dataDir, twin[1] as string]) {
    const { document } = await runJson<{ items: unknown[] }>(['--data', directory, 'server', 'list']);
    assert.equal(document.items.length, 1);
    assert.ok(!existsSync(`${directory}/keys/parent`));
  }
});

async function namedLike(name: string): Promise<{ dataDir: string }> {
  const dataDir = join(root, `twin-of-${name}`);
  await initialise({ dataDir, flags: { name, ...ports }, env: CLEAN_ENV });
  return { dataDir };
}

test('a revoked server is told so by exit code 77 at its next replication', async () => {
  const { dataDir } = await makeDirectory('revoked');
  await runCli(['--data', dataDir, 'server', 'join', hq.addresses.httpsUrl], { env: { WAYSTATION_ENROL_TOKEN: await enrolToken() } });
  assert.equal((await runCli(['--data', dataDir, 'sync', 'run', '--wait'])).code, 0);
  assert.equal((await runCli(['--data', hq.dataDir, 'server', 'revoke', 'revoked'])).code, 64, 'a destructive verb asks');
  await atHq('server', 'revoke', 'revoked', '--yes');
  const refused = await failure(['--data', dataDir, 'sync', 'run', '--wait']);
  assert.deepEqual([refused.exit, refused.code], [77, 'revoked']);
});

test('an operator reaches the server by URL with token and pin; a wrong token is 77, a wrong pin is 77 before the token is sent', async () => {
  const own = await start('by-url');
  try {
    const argv = ['--url', own.addresses.httpsUrl, 'server', 'list'];
    const good = { WAYSTATION_TOKEN: own.token, WAYSTATION_CA_PIN: own.fingerprint };
    assert.equal((await runCli(argv, { env: good })).code, 0);
    const wrong = await failure(argv, { env: { ...good, WAYSTATION_TOKEN: `wst_${'A'.repeat(43)}` } });
    assert.deepEqual([wrong.exit, wrong.code], [77, 'token_wrong']);
    const pinned = await failure(argv, { env: { ...good, WAYSTATION_CA_PIN: `sha256:${'0'.repeat(64)}` } });
    assert.deepEqual([pinned.exit, pinned.code], [77, 'denied']);
    assert.equal((await failure(argv, { env: { WAYSTATION_CA_PIN: own.fingerprint } })).code, 'denied');
  } finally {
    await own.stop();
  }
});

test('a second serve on the same directory, and a port in use, are exit code 75 with what to do', async () => {
  const second = await failure(['--data', hq.dataDir, 'serve']);
  assert.deepEqual([second.exit, second.code], [75, 'directory_in_use']);
  const squatter = createServer().listen(0);
  await new Promise((resolve) => squatter.once('listening', resolve));
  const { port } = squatter.address() as AddressInfo;
  const { dataDir } = await makeDirectory('port');
  const busy = await failure(['--data', dataDir, 'serve', '--https-port', String(port)]);
  squatter.close();
  assert.deepEqual([busy.exit, busy.code], [75, 'port_in_use']);
  assert.match(busy.message, new RegExp(`${port}`));
  assert.match(busy.hint, /httpsPort/);
  assert.ok(!existsSync(join(dataDir, 'run', 'api.sock')));
});

test('an empty key file is exit code 78 and names the file', async () => {
  const { dataDir } = await makeDirectory('empty-key');
  await truncate(join(dataDir, 'keys', 'signing.key'));
  const broken = await failure(['--data', dataDir, 'serve']);
  assert.deepEqual([broken.exit, broken.code], [78, 'unreadable_secret']);
  assert.match(broken.message, /signing\.key/);
});

test('a failure that nobody caught ends serve with 1 and one line, and is in the log', async () => {
  const { dataDir } = await makeDirectory('fails');
  const failing = "process.on('SIGUSR2', () => void Promise.reject(new Error('on purpose')))";
  const served = await startServeProcess(dataDir, { ...env, NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(failing)}` });
  const ended = once(served.child, 'exit');
  served.child.kill('SIGUSR2');
  assert.deepEqual(await ended, [1, null]);
  assert.equal(served.words(), 'waystation: serve ends by a failure of its own: on purpose (see the log, and report it)\n');
  const last = JSON.parse((await readFile(join(dataDir, 'log', 'waystation.log'), 'utf8')).trimEnd().split('\n').at(-1) ?? '');
  assert.deepEqual([last.event, last.error], ['serve ends by a failure of its own', 'on purpose']);
});

test('SIGTERM ends serve with 0 in a few seconds although a client hangs, and a killed one leaves nothing that keeps the next from starting', async () => {
  const own = await start('stops');
  const hanging = fetch(`${own.addresses.httpUrl}/healthz`, { method: 'GET' });
  assert.equal((await hanging).status, 200);
  const started = performance.now();
  await own.stop();
  assert.ok(performance.now() - started < 10_000);
  assert.equal(own.process.exitCode, 0);
  const again = await startServer({ name: 'stops', dataDir: own.dataDir, env });
  again.process.kill('SIGKILL');
  await new Promise((resolve) => again.process.once('exit', resolve));
  const third = await startServer({ name: 'stops', dataDir: own.dataDir, env });
  assert.equal((await fetch(`${third.addresses.httpUrl}/readyz`)).status, 200);
  await third.stop();
});
