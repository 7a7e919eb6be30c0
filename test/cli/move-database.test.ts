import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { newId } from '../../core/ids.ts';
import { inTransaction } from '../../server/db/open.ts';
import { markChanged } from '../../server/db/outbox.ts';
import { openSite } from '../../server/open-site.ts';
import { startServe } from '../../server/serve.ts';
import { startMariadb } from '../helpers/mariadb.ts';
import { importDisk, makeDisk, makeSite } from '../helpers/replication-sites.ts';
import { CLEAN_ENV, runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';

const MAIN = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const TARGETS = 300;
const root = await temporaryDirectory('move');
const mariadb = await startMariadb();
after(() => mariadb.stop());
for (const name of ['one', 'two']) mariadb.createDatabase(name);
const dataDir = join(root, 'hq');
const passwordFile = join(root, 'password');
const urlOf = (name: string) => `${mariadb.url}${name}?passwordFile=${passwordFile}`;
type Told = { what: string; here: number; there: number; newestHere: number; newestThere: number };
type Document = {
  from: string | null;
  to: string | null;
  told: Told[];
  notes: string[];
  error?: { code: string; message: string; hint?: string };
};
const move = (to: string, ...flags: string[]) => runJson<Document>(['server', 'database', 'move', to, '--data', dataDir, ...flags]);
const toldOf = ({ told }: Document) => Object.fromEntries(told.map(({ what, here, there }) => [what, [here, there]]));

/** Everything of a server that others may ask for by id or digest. */
async function inventory(): Promise<string> {
  const site = await openSite({ dataDir, env: CLEAN_ENV });
  const objects = await site.db('objects').orderBy('id').select('id', 'origin', 'revision', 'digest', 'signature');
  const images = await site.db('images').orderBy('id').select('id', 'name', 'version', 'manifest');
  const targets = await site.db('targets').orderBy('id').select('id', 'name');
  await site.close();
  return JSON.stringify([objects, images, targets]);
}

test('a server moves in, killed on the way, on to another database, and out; it keeps every id and digest', async () => {
  const made = await makeSite(root, 'hq');
  await writeFile(passwordFile, mariadb.password, { mode: 0o600 });
  await importDisk(made, await makeDisk(join(root, 'disk'), 200_000).then(() => join(root, 'disk')));
  await inTransaction(made.db, async (trx) => {
    for (let n = 0; n < TARGETS; n++) {
      const id = newId();
      await trx('targets').insert({ id, name: `box-${n}`, discovered_by: 'operator', created_at: 1, origin: made.self.id, revision: 1 });
      await markChanged(trx, 'target', id);
    }
  });
  const events = Number((await made.db('events').count({ n: '*' }).first())?.['n']);
  await made.close();
  const before = await inventory();
  const yaml = await readFile(join(dataDir, 'waystation.yaml'), 'utf8');

  const dry = await move(urlOf('one'), '--dry-run');
  assert.deepEqual(
    [dry.code, dry.document.from, toldOf(dry.document)],
    [0, null, { events: [events, 0], things: [TARGETS, 0], objects: [1, 0] }],
  );
  assert.equal(await readFile(join(dataDir, 'waystation.yaml'), 'utf8'), yaml);

  const child = spawn(process.execPath, ['--no-warnings', MAIN, 'server', 'database', 'move', urlOf('one'), '--yes', '--data', dataDir], {
    env: CLEAN_ENV,
  });
  const told = async () => Number(mariadb.ask('select count(*) from one.shared_reports').trim() || 0);
  const ended = once(child, 'exit');
  await waitUntil('it tells', async () => (await told()) > 0, { everyMs: 5, despiteErrors: true, during: ended });
  child.kill('SIGKILL');
  await ended;
  console.log(`killed after ${await told()} of ${TARGETS} things`);
  assert.equal(await readFile(join(dataDir, 'waystation.yaml'), 'utf8'), yaml);

  const inside = await move(urlOf('one'), '--yes');
  assert.equal(inside.code, 0, JSON.stringify(inside.document));
  assert.deepEqual(toldOf(inside.document), { events: [events, events], things: [TARGETS, TARGETS], objects: [1, 1] });
  assert.equal(await inventory(), before);

  const further = await move(urlOf('two'), '--yes');
  assert.deepEqual([further.code, toldOf(further.document)['things']], [0, [TARGETS, TARGETS]]);
  assert.equal(mariadb.ask("select state from one.shared_servers where name = 'hq'").trim(), 'retired');
  const back = await move(urlOf('one'), '--yes');
  assert.equal(back.code, 0, JSON.stringify(back.document));
  assert.equal(mariadb.ask("select state from one.shared_servers where name = 'hq'").trim(), 'active');

  const out = await move('none', '--yes');
  assert.deepEqual([out.code, out.document.to, out.document.notes], [0, null, []]);
  assert.equal(mariadb.ask("select state from one.shared_servers where name = 'hq'").trim(), 'retired');
  assert.equal(await inventory(), before);
});

test('the same database under another address is not left, and one whose data source is gone can be', async () => {
  assert.equal((await move(urlOf('one'), '--yes')).code, 0);
  const other = await move(urlOf('one').replace('127.0.0.1', 'localhost'), '--yes');
  assert.equal(other.code, 0, JSON.stringify(other.document));
  assert.equal(mariadb.ask("select state from one.shared_servers where name = 'hq'").trim(), 'active');
  await runCli(['datasource', 'add', 'meet', '--url', urlOf('one'), '--data', dataDir]);
  assert.equal((await move('meet', '--yes')).code, 0);
  await runCli(['datasource', 'remove', 'meet', '--yes', '--data', dataDir]);
  const refused = await move('none', '--yes');
  assert.deepEqual([refused.code, refused.document.error?.code], [78, 'unknown_data_source']);
  const forced = await move('none', '--yes', '--force');
  assert.deepEqual([forced.code, /no data source "meet"/.test(forced.document.notes[0] ?? '')], [0, true], JSON.stringify(forced.document));
  assert.equal((await runJson(['server', 'list', '--data', dataDir])).code, 0);
});

test('a running server, a name that is taken, and a database that is away are told in words; one that is gone for good can be left', async () => {
  const site = await openSite({ dataDir, env: CLEAN_ENV, flags: { httpPort: 0, httpsPort: 0, tftpPort: 0 } });
  const serving = await startServe(site);
  assert.equal((await move(urlOf('one'), '--yes')).code, 75);
  await serving.close();
  await site.close();
  assert.equal((await move('mysql://u@127.0.0.1:1/x', '--yes')).code, 69);
  mariadb.sql("update two.shared_servers set id = '0192a0b0-0000-7000-8000-00000000aaaa', state = 'active' where name = 'hq'");
  const taken = await move(urlOf('two'), '--yes');
  assert.deepEqual([taken.code, taken.document.error?.code], [65, 'name_taken']);
  assert.equal((await move(urlOf('one'), '--yes')).code, 0);
  await mariadb.kill();
  const refused = await move('none', '--yes');
  assert.deepEqual([refused.code, /--force/.test(refused.document.error?.hint ?? '')], [69, true]);
  assert.equal((await move('none', '--dry-run')).code, 69, 'a dry run says what would happen');
  assert.equal((await move('none', '--dry-run', '--force')).code, 0);
  const forced = await move('none', '--yes', '--force');
  assert.deepEqual([forced.code, /stays active/.test(forced.document.notes[0] ?? '')], [0, true]);
  assert.match((await runCli(['store', 'stats', '--data', dataDir])).stdout, /./);
  await mariadb.start();
});
