import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmod, mkdir, open, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { parse } from 'yaml';
import { isDigest, isId } from '../../core/ids.ts';
import { listEvents } from '../../server/db/events.ts';
import { openDatabase } from '../../server/db/open.ts';
import { listOperatorTokens } from '../../server/db/operator-tokens.ts';
import { takeLock } from '../../server/lock.ts';
import { hashOf } from '../helpers/digests.ts';
import { runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const LAUNCHER = new URL('../../cli/waystation', import.meta.url).pathname;

async function freshDirectory(): Promise<string> {
  return join(await temporaryDirectory('init'), 'data');
}

it('makes keys, configuration, database and one administrator, and prints what others need', async () => {
  const dir = await freshDirectory();
  const { code, document } = await runJson([
    'init',
    '--data',
    dir,
    '--name',
    'hq',
    '--http-port',
    '0',
    '--interface',
    'eth0',
    '--interface',
    'eth1',
  ]);
  assert.equal(code, 0);
  assert.deepEqual(Object.keys(document), ['serverId', 'fingerprint', 'token']);
  assert.ok(isId(document['serverId'] as string) && isDigest(document['fingerprint'] as string));
  assert.match(document['token'] as string, /^wst_[A-Za-z0-9_-]{43}$/);
  assert.deepEqual(parse(await readFile(join(dir, 'waystation.yaml'), 'utf8')), {
    ...{ name: 'hq', httpPort: 0, interfaces: ['eth0', 'eth1'], database: 'sqlite' },
  });
  const db = await openDatabase({ database: 'sqlite' }, dir);
  try {
    const [token, ...more] = await listOperatorTokens(db);
    assert.deepEqual([token?.hash, token?.role, more.length], [hashOf(document['token'] as string), 'administrator', 0]);
    const kinds = (await listEvents(db)).map((event) => event.kind);
    assert.deepEqual(kinds, ['server.initialised', 'token.created']);
  } finally {
    await db.destroy();
  }
});

it('leaves nothing that others can read', async () => {
  const dir = await freshDirectory();
  await mkdir(dir, { mode: 0o755 });
  await runCli(['init', '--data', dir]);
  assert.equal((await stat(dir)).mode & 0o777, 0o700);
  for (const name of ['waystation.yaml', 'db.sqlite', 'keys/ca.key', 'keys/signing.key', 'server-id']) {
    assert.equal((await stat(join(dir, name))).mode & 0o077, 0, name);
  }
  const texts = await Promise.all(['waystation.yaml', 'db.sqlite'].map((name) => readFile(join(dir, name), 'latin1')));
  assert.doesNotMatch(texts.join(), /wst_/);
});

it('refuses a directory that has a server, and changes nothing', async () => {
  const dir = await freshDirectory();
  await runCli(['init', '--data', dir]);
  const before = await readFile(join(dir, 'server-id'), 'utf8');
  const { code, stderr } = await runCli(['init', '--data', dir]);
  assert.equal(code, 65);
  assert.match(stderr, /^waystation: there is a server in .* already \(.*--data\)\n$/);
  assert.equal(await readFile(join(dir, 'server-id'), 'utf8'), before);
});

it('refuses a directory that holds something else, and leaves it alone', async () => {
  const dir = await freshDirectory();
  await mkdir(dir);
  await writeFile(join(dir, 'mine.txt'), 'mine');
  const { code, stderr } = await runCli(['init', '--data', dir]);
  assert.deepEqual([code, /mine\.txt/.test(stderr)], [78, true]);
  assert.deepEqual(await readdir(dir), ['mine.txt']);
});

it('takes the data source called waystation when it is defined, and says so', async () => {
  const sources = await temporaryDirectory('sources');
  await writeFile(join(sources, 'waystation.yaml'), 'hosts: ["127.0.0.1:1"]\nuser: u\nname: n\n');
  const dir = await freshDirectory();
  const { code, stderr } = await runCli(['init', '--data', dir], { env: { WAYSTATION_DATASOURCES: sources } });
  assert.deepEqual([code, /database "n" at 127\.0\.0\.1:1/.test(stderr)], [69, true]);
  await assert.rejects(stat(dir), { code: 'ENOENT' });
});

it('refuses an unknown data source before anything is written', async () => {
  const dir = await freshDirectory();
  const { code, stderr } = await runCli(['init', '--data', dir, '--database', 'nowhere']);
  assert.equal(code, 78);
  assert.match(stderr, /^waystation: there is no data source "nowhere" \(define it with .*\)\n$/);
  await assert.rejects(stat(dir), { code: 'ENOENT' });
});

it('refuses an unreadable password file before anything is written', async () => {
  const dir = await freshDirectory();
  const url = `mysql://u@127.0.0.1/n?passwordFile=${join(dir, 'absent')}`;
  const { code, document } = await runJson<{ error: { code: string; hint: string } }>(['init', '--data', dir, '--database', url]);
  assert.deepEqual([code, document.error.code], [78, 'unreadable_secret']);
  await assert.rejects(stat(dir), { code: 'ENOENT' });
});

it('cleans up after a failure half way', async () => {
  const dir = await freshDirectory();
  await mkdir(join(dir, 'datasources.d'), { recursive: true });
  await writeFile(join(dir, 'datasources.d', 'down.yaml'), 'hosts: ["127.0.0.1:1"]\nuser: u\nname: n\n');
  const { code } = await runCli(['init', '--data', dir, '--database', 'down']);
  assert.equal(code, 69);
  assert.deepEqual(await readdir(dir), ['datasources.d']);
  assert.equal((await runCli(['init', '--data', dir])).code, 0);
});

it('says in one line that the file system is full, and leaves nothing behind', async () => {
  const dir = await temporaryDirectory('full');
  const probe = (bytes: number, more = '') =>
    // A file system of its own, in a mount namespace of its own: root needs no help, others a user namespace.
    spawnSync(
      'unshare',
      [
        ...(process.getuid?.() === 0 ? ['--mount'] : ['--user', '--map-root-user', '--mount']),
        ...[
          'sh',
          '-ec',
          `mount -t tmpfs -o size=${bytes} tmpfs "$1"; "$2" --data "$1/data" init && { ${more} exit 0; } || code=$?; ls -A "$1" >&3; exit $code`,
        ],
        ...['sh', dir, LAUNCHER],
      ],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
        env: { PATH: process.env['PATH'], WAYSTATION_DATASOURCES: '/nonexistent' },
      },
    );
  const { status, stderr, output } = probe(1_048_576);
  assert.deepEqual([status, output[3]], [75, '']);
  assert.match(stderr, /^waystation: no space left for a data directory in .* \(free space .*\)\n$/);
  assert.equal(probe(16_777_216).status, 0);
  const later = probe(16_777_216, 'cat /dev/zero >"$1/fill" 2>&3 || "$2" --data "$1/data" server token || exit $?;');
  assert.equal(later.status, 75, later.stderr);
  assert.match(later.stderr, /^waystation: no space left for .*db\.sqlite \(free space and try again\)\n$/);
});

it('waits for nobody: a directory in use is refused with the process and the path', async () => {
  const dir = await freshDirectory();
  await mkdir(dir);
  const lock = await takeLock(dir);
  try {
    const { code, stderr } = await runCli(['init', '--data', dir]);
    assert.deepEqual(
      [code, stderr],
      [75, `waystation: ${dir} is in use by process ${process.pid} (stop that process, or name another directory with --data)\n`],
    );
  } finally {
    lock.release();
  }
});

it('refuses values that are no settings', async () => {
  const dir = await freshDirectory();
  const codes = async (...args: string[]) => (await runCli(['init', '--data', dir, ...args])).code;
  assert.equal(await codes('--name', 'Not A Name'), 64);
  assert.equal(await codes('--http-port', 'many'), 64);
  assert.equal(await codes('--http-port', '70000'), 78);
  assert.equal(await codes('--pxe', 'sometimes'), 64);
  assert.equal(await codes('--url', 'https://x'), 64);
  await assert.rejects(stat(dir), { code: 'ENOENT' });
});

it('refuses a directory whose path is too long for its sockets before anything is written', async () => {
  const dir = join(await freshDirectory(), 'x'.repeat(60), 'y'.repeat(40));
  const { code, stderr } = await runCli(['init', '--data', dir]);
  assert.equal(code, 78);
  assert.match(stderr, /^waystation: the path of the data directory .* is too long .* \(choose one of at most 93 octets with --data\)\n$/);
  await assert.rejects(stat(join(dir, '..', '..')), { code: 'ENOENT' });
});

it('takes the name from the environment and refuses variables it does not know', async () => {
  const dir = await freshDirectory();
  const unknown = await runCli(['init', '--data', dir], { env: { WAYSTATION_HTP_PORT: '1' } });
  assert.deepEqual([unknown.code, /WAYSTATION_HTP_PORT/.test(unknown.stderr)], [78, true]);
  await assert.rejects(stat(dir), { code: 'ENOENT' });
  const named = await runCli(['init', '--data', dir], { env: { WAYSTATION_NAME: 'branch-7', WAYSTATION_HTTP_PORT: '0' } });
  assert.match(named.stdout, /^name: +branch-7$/m);
  assert.deepEqual(parse(await readFile(join(dir, 'waystation.yaml'), 'utf8')), { name: 'branch-7', database: 'sqlite' });
});

it('removes what an interrupted init left', async () => {
  const dir = await freshDirectory();
  await mkdir(join(dir, '.init', 'keys'), { recursive: true });
  await writeFile(join(dir, '.init', 'keys', 'ca.key'), 'half a key');
  assert.equal((await runCli(['init', '--data', dir])).code, 0);
  assert.ok(!(await readdir(dir)).includes('.init'));
});

it('does not call it success when the result could not be written', async () => {
  const full = await open('/dev/full', 'w');
  const { status, stderr } = spawnSync(LAUNCHER, ['version', '--json'], { encoding: 'utf8', stdio: ['ignore', full.fd, 'pipe'] });
  await full.close();
  assert.equal(status, 75);
  assert.match(stderr, /^waystation: the result could not be written to standard output: ENOSPC \(.*\)\n$/);
});

it('finds the pinned Node through a link, and says so when there is none', async () => {
  const dir = await temporaryDirectory('launcher');
  await symlink(LAUNCHER, join(dir, 'ws'));
  const linked = spawnSync(join(dir, 'ws'), ['version', '--json'], { encoding: 'utf8' });
  assert.deepEqual([linked.status, JSON.parse(linked.stdout).node], [0, process.versions.node]);
  await mkdir(join(dir, 'cli'));
  await writeFile(join(dir, 'cli', 'waystation'), await readFile(LAUNCHER));
  await chmod(join(dir, 'cli', 'waystation'), 0o755);
  const bare = spawnSync(join(dir, 'cli', 'waystation'), ['version'], { encoding: 'utf8' });
  assert.equal(bare.status, 78);
  assert.match(bare.stderr, /^waystation: the pinned Node is missing in .*\n$/);
  await rm(join(dir, 'cli'), { recursive: true });
});
