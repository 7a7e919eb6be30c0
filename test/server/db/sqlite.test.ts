import assert from 'node:assert/strict';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, it, mock } from 'node:test';
import type { AppError } from '../../../core/errors.ts';
import { MIGRATIONS } from '../../../migrations/index.ts';
import { onLongTurn } from '../../../server/db/dialect-sqlite.ts';
import { migrateDatabase } from '../../../server/db/migrate.ts';
import { connectDatabase, openDatabase } from '../../../server/db/open.ts';
import { getSetting, setSetting } from '../../../server/db/settings.ts';
import { databaseContract } from './contract.ts';
import { sharedContract } from './shared-contract.ts';

const directories: string[] = [];
async function directory(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'waystation-db-'));
  directories.push(dir);
  return dir;
}
after(() => Promise.all(directories.map((dir) => rm(dir, { recursive: true, force: true }))));

databaseContract('SQLite', async () => connectDatabase({ database: 'sqlite' }, await directory()));
sharedContract('SQLite', async () => connectDatabase({ database: 'sqlite' }, await directory()));

it('opens durable: write-ahead log, full synchronisation, foreign keys', async () => {
  const db = await connectDatabase({ database: 'sqlite' }, await directory());
  const pragma = async (name: string) => Object.values((await db.raw(`pragma ${name}`))[0])[0];
  assert.deepEqual(await Promise.all(['journal_mode', 'synchronous', 'foreign_keys'].map(pragma)), ['wal', 2, 1]);
  await db.destroy();
});

it('keeps what was written when it is opened again', async () => {
  const dir = await directory();
  const first = await connectDatabase({ database: 'sqlite' }, dir);
  await migrateDatabase(first);
  await setSetting(first, 'kept', 'yes');
  await first.destroy();
  const second = await openDatabase({ database: 'sqlite' }, dir);
  assert.equal(await getSetting(second, 'kept'), 'yes');
  await second.destroy();
});

it('frees the lock of a migration that was killed', async () => {
  const db = await connectDatabase({ database: 'sqlite' }, await directory());
  await db.schema.createTable('knex_migrations_lock', (t) => {
    t.increments('index').primary();
    t.integer('is_locked');
  });
  await db('knex_migrations_lock').insert({ is_locked: 1 });
  assert.deepEqual(
    await migrateDatabase(db),
    MIGRATIONS.map(({ name }) => name),
  );
  await db.destroy();
});

it('whoever waits too long for a turn is told to ask again, and has changed nothing', async () => {
  const db = await connectDatabase({ database: 'sqlite' }, await directory());
  // Not before it is connected: how long a thread takes to start is not what this is about.
  (db.client as { pool: { acquireTimeoutMillis: number } }).pool.acquireTimeoutMillis = 50;
  await db.transaction(async () => {
    const refused: Error = await db.raw('select 1').then(assert.fail, (error: Error) => error);
    assert.deepEqual([(refused as AppError).code, /the database/.test(refused.message)], ['busy', true]);
    assert.match(String(refused.cause), /"statements":1,"last":"BEGIN;","waitsFor":"the program"/);
    await assert.rejects(
      db.transaction(async () => assert.fail('it had no turn')),
      { name: 'AppError', code: 'busy' },
    );
  });
  assert.equal((await db.raw('select 1 as one'))[0].one, 1);
  await db.destroy();
});

/** Takes a moment. */
const COUNT = 'with recursive c (n) as (select 1 union all select n + 1 from c limit 1000000) select count(*) from c';

it('tells once of a turn that lasts for five seconds, without values, with what is waited for', async () => {
  const db = await connectDatabase({ database: 'sqlite' }, await directory());
  const told: unknown[] = [];
  onLongTurn(db, ({ lastsMs: _, ...turn }) => told.push(turn));
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    await db.transaction(async (trx) => void (await trx.raw('select 1')));
    mock.timers.tick(5_000);
    await db.transaction(async (trx) => {
      await trx.raw('select ? as n', ['a secret']);
      mock.timers.tick(4_999);
      assert.deepEqual(told, []);
      mock.timers.tick(1);
      mock.timers.tick(60_000);
    });
    const alone = db.raw(COUNT).then();
    await new Promise(setImmediate);
    mock.timers.tick(5_000);
    await alone;
  } finally {
    mock.timers.reset();
    await db.destroy();
  }
  assert.deepEqual(told, [
    { statements: 2, last: 'select ? as n', waitsFor: 'the program' },
    { statements: 1, last: COUNT, waitsFor: 'the database' },
  ]);
});

it('refuses a file that is not a database, with its path', async () => {
  const dir = await directory();
  const { writeFile } = await import('node:fs/promises');
  await writeFile(join(dir, 'db.sqlite'), 'not a database'.repeat(1000));
  await assert.rejects(openDatabase({ database: 'sqlite' }, dir), { code: 'config', message: /db\.sqlite/ });
  assert.equal((await stat(join(dir, 'db.sqlite'))).size, 14_000);
});

it('does not keep the loop waiting while it commits', async () => {
  const db = await connectDatabase({ database: 'sqlite' }, await directory());
  await migrateDatabase(db);
  let turns = 0;
  let running = true;
  const count = () => {
    turns++;
    if (running) setImmediate(count);
  };
  count();
  for (let n = 0; n < 20; n++) await setSetting(db, 'n', String(n));
  running = false;
  await db.destroy();
  assert.ok(turns > 100, `the loop turned ${turns} times during 20 commits`);
});
