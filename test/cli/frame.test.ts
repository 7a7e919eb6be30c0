import assert from 'node:assert/strict';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { newId } from '../../core/ids.ts';
import { takeLock } from '../../server/lock.ts';
import { openSite } from '../../server/open-site.ts';
import { startServe } from '../../server/serve.ts';
import { initialisedDirectory } from '../helpers/initialised-directory.ts';
import { CLEAN_ENV, runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

it('answers every typing error with one line and 64', async () => {
  const cases = [[], ['versoin'], ['version', 'more'], ['version', '--colour'], ['datasource', 'sing'], ['datasource', 'test'], ['--data']];
  for (const argv of cases) {
    const { code, stdout, stderr } = await runCli(argv);
    assert.deepEqual([code, stdout], [64, ''], argv.join(' '));
    assert.match(stderr, /^waystation: [^\n]+ \(see [^\n]*--help\)\n$/, argv.join(' '));
  }
});

it('shows the verbs when one is missing', async () => {
  const { code, stdout, stderr } = await runCli(['datasource']);
  assert.deepEqual([code, stdout], [64, '']);
  assert.match(stderr, /remove [\s\S]*\nwaystation: a verb is missing \(see --help\)\n$/);
});

it('prints a failure as one document under --json, wherever the flag stands', async () => {
  for (const argv of [['--json', 'versoin'], ['version', '--json', '--colour'], ['--json']]) {
    const { code, stdout, stderr } = await runCli(argv);
    const { error } = JSON.parse(stdout);
    assert.deepEqual([code, stderr, error.code, typeof error.message, typeof error.hint], [64, '', 'usage', 'string', 'string']);
  }
});

it('refuses two servers at once', async () => {
  const { code, stderr } = await runCli(['--data', 'x', '--url', 'https://y', 'migrate']);
  assert.deepEqual([code, stderr], [64, 'waystation: --data and --url name two servers (give one of them)\n']);
});

it('shows help and ends with 0', async () => {
  const root = await runCli(['--help']);
  assert.equal(root.code, 0);
  for (const word of ['init', 'serve', 'doctor', 'migrate', 'logs', 'datasource', 'Exit codes'])
    assert.match(root.stdout, new RegExp(word));
  assert.equal((await runCli(['init', '--help'])).code, 0);
  assert.equal((await runCli(['help'])).stdout, root.stdout);
  assert.match((await runCli(['help', 'sync'])).stdout, /^Usage: waystation sync /);
});

it('says with 75 that the database has no room, and what to do', async () => {
  const { dataDir } = await initialisedDirectory();
  const site = await openSite({ dataDir, env: CLEAN_ENV });
  // The cap holds for this connection: what SQLite says is what it says on a full file system.
  await site.db.raw('pragma max_page_count = 1');
  const fill = () => site.db('settings').insert({ key: newId(), value: 'x'.repeat(2000) });
  await assert.rejects(async () => {
    for (;;) await fill();
  });
  await assert.rejects(async () => {
    for (;;) await site.db('enrol_tokens').insert({ id: newId(), hash: newId(), created_at: 1, expires_at: 1 });
  });
  const serving = await startServe(site);
  try {
    const { code, stderr } = await runCli(['server', 'token', '--data', dataDir]);
    assert.equal(code, 75);
    assert.match(stderr, /^waystation: no space is left for the records of this server; [^\n]* \(free space [^\n]*\)\n$/);
  } finally {
    await serving.close();
    await site.close();
  }
});

it('says to start serve when a command needs a server', async () => {
  const { dataDir } = await initialisedDirectory();
  const { code, document } = await runJson<{ error: { code: string; hint: string } }>(['order', 'list', '--data', dataDir]);
  assert.deepEqual([code, document.error.code], [69, 'not_running']);
  assert.match(document.error.hint, /start waystation serve/);
});

it('names init when there is no server in the directory to be started', async () => {
  const { code, stderr } = await runCli(['sync', 'status', '--data', await temporaryDirectory('empty')]);
  assert.equal(code, 69);
  assert.match(stderr, /there is no server in .*waystation init --data /);
  assert.doesNotMatch(stderr, /waystation serve/);
});

it('takes the directory from the flag before the environment', async () => {
  const one = await initialisedDirectory();
  const env = { WAYSTATION_DATA: await temporaryDirectory('empty') };
  assert.equal((await runCli(['migrate', '--data', one.dataDir], { env })).code, 0);
  assert.equal((await runCli(['migrate'], { env })).code, 66);
});

it('asks before it destroys, and needs --yes where nobody can be asked', async () => {
  const sources = await temporaryDirectory('sources');
  const env = { WAYSTATION_DATASOURCES: sources };
  const add = ['datasource', 'add', 'main', '--host', 'a', '--host', 'b:1', '--user', 'u', '--name', 'n'];
  assert.equal((await runCli(add, { env })).code, 0);
  const refused = await runCli(['datasource', 'remove', 'main'], { env });
  assert.deepEqual([refused.code, /--yes/.test(refused.stderr)], [64, true]);
  assert.equal((await runCli(['datasource', 'remove', 'main', '--yes'], { env })).code, 0);
  assert.equal((await runCli(['datasource', 'remove', 'main', '--yes'], { env })).code, 66);
});

it('adds a data source by URL, lists it, and never shows or takes a password', async () => {
  const env = { WAYSTATION_DATASOURCES: await temporaryDirectory('sources') };
  const added = await runJson(['datasource', 'add', 'main', '--url', 'mysql://u@db:3307/n', '--password-file', '/p'], { env });
  assert.equal(added.code, 0);
  const { document } = await runJson<{ items: object[]; next: null }>(['datasource', 'list'], { env });
  assert.deepEqual(document, {
    items: [
      {
        ...{ name: 'main', hosts: ['db:3307'], user: 'u', database: 'n', passwordFile: '/p', ca: null },
        path: join(env.WAYSTATION_DATASOURCES, 'main.yaml'),
      },
    ],
    next: null,
  });
  assert.equal((await runCli(['datasource', 'add', 'main', '--url', 'mysql://u@db/n'], { env })).code, 65);
  const withPassword = await runCli(['datasource', 'add', 'other', '--url', 'mysql://u:canary@db/n'], { env });
  assert.deepEqual([withPassword.code, withPassword.stderr.includes('canary')], [78, false]);
  assert.equal((await runCli(['datasource', 'test', 'nowhere'], { env })).code, 78);
  assert.equal((await runCli(['datasource', 'add', 'both', '--url', 'mysql://u@db/n', '--host', 'x'], { env })).code, 64);
});

it('reads a token from a file and says when it cannot', async () => {
  const dir = await temporaryDirectory('token');
  const run = (source: string) => runCli(['order', 'list', '--url', 'https://127.0.0.1:1', '--token-file', source], { stdin: 'wst_x\n' });
  const missing = await run(join(dir, 'absent'));
  assert.deepEqual([missing.code, /cannot read the token from .*absent: ENOENT/.test(missing.stderr)], [78, true]);
  await writeFile(join(dir, 'empty'), '\n');
  assert.equal((await run(join(dir, 'empty'))).code, 78);
  assert.equal((await run('-')).code, 69);
});

it('names an unknown configuration key with 78, from the file and from the environment', async () => {
  const { dataDir } = await initialisedDirectory();
  const env = { WAYSTATION_HTP_PORT: '1' };
  const fromEnvironment = await runCli(['migrate', '--data', dataDir], { env });
  assert.deepEqual([fromEnvironment.code, /WAYSTATION_HTP_PORT/.test(fromEnvironment.stderr)], [78, true]);
  await writeFile(join(dataDir, 'waystation.yaml'), 'htpPort: 80\n');
  const fromFile = await runCli(['serve', '--data', dataDir]);
  assert.deepEqual([fromFile.code, fromFile.stdout], [78, '']);
  assert.match(fromFile.stderr, /^waystation: unknown configuration key "htpPort" in [^\n]*\n$/);
});

it('serve refuses a directory in use and a key that cannot be read, each in one line, and leaves nothing behind', async () => {
  const { dataDir } = await initialisedDirectory();
  const lock = await takeLock(dataDir);
  const second = await runCli(['serve', '--data', dataDir]);
  lock.release();
  assert.deepEqual([second.code, second.stdout], [75, '']);
  assert.match(second.stderr, new RegExp(`^waystation: ${dataDir} is in use by process ${process.pid} \\([^\n]*\\)\n$`));
  await rm(join(dataDir, 'keys', 'ca.key'));
  const before = await readdir(dataDir);
  const keyless = await runCli(['serve', '--data', dataDir]);
  assert.deepEqual([keyless.code, keyless.stdout], [78, '']);
  assert.match(keyless.stderr, /^waystation: cannot read the key file [^\n]*ca\.key: ENOENT \([^\n]*\)\n$/);
  assert.deepEqual(
    (await readdir(dataDir)).filter((name) => !before.includes(name) && name !== 'log'),
    [],
  );
  (await takeLock(dataDir)).release();
});
