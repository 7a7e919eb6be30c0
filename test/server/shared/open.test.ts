import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Knex } from 'knex';
import { type Connection, createConnection } from 'mysql2/promise';
import { type Id, newId } from '../../../core/ids.ts';
import { SHARED_MIGRATIONS } from '../../../migrations/shared/index.ts';
import type { MysqlConnection } from '../../../server/db/dialect-mysql.ts';
import { takeNumbers } from '../../../server/db/shared/counters.ts';
import { insertSharedServer, type Registration, setSharedState } from '../../../server/db/shared/servers.ts';
import { openShared } from '../../../server/shared/open.ts';
import { createContact, type SharedState } from '../../../server/shared/state.ts';
import { startCuttingProxy } from '../../helpers/cutting-proxy.ts';
import { startMariadb } from '../../helpers/mariadb.ts';
import { startPacingProxy } from '../../helpers/pacing-proxy.ts';
import { makeUpServers } from '../../helpers/scale/servers.ts';
import { waitUntil } from '../../helpers/wait-until.ts';

const mariadb = await startMariadb();
const proxy = await startCuttingProxy(mariadb.port);
mariadb.createDatabase('meeting');
const connectionTo = (port: number): MysqlConnection => ({
  ...{ kind: 'mysql', hosts: [`127.0.0.1:${port}`], user: 'waystation', name: 'meeting', password: mariadb.password },
});
const shared = openShared(connectionTo(proxy.port), Date.now);
const states: SharedState[] = [];
shared.onChange((state) => states.push(state));
after(async () => {
  await shared.close();
  await proxy.close();
  await mariadb.stop();
});

const rows = (id: string) => shared.read('a test', (db) => db('shared_signers').where({ key_id: id }));

/** A write that breaks a unique key where it would be done twice; its number is 1 when it was done once. */
async function note(trx: Knex.Transaction, id: string): Promise<number> {
  const known = await findNote(trx, id);
  if (known !== undefined) return known;
  const number = await takeNumbers(trx, id, 1);
  await trx('shared_signers').insert({ key_id: id, server_id: id, record: String(number) });
  return number;
}

async function findNote(db: Knex, id: string): Promise<number | undefined> {
  const row = await db('shared_signers').where({ key_id: id }).first('record');
  return row && Number(row.record);
}

test('nothing is connected before it is needed; tables that are missing are told in words, then made', async () => {
  assert.deepEqual(shared.state(), { state: 'unknown' });
  await assert.rejects(rows('x'), { code: 'config', hint: 'run waystation migrate', message: /^a test: database "meeting" at 127/ });
  await new Promise((resolve) => setTimeout(resolve, 600));
  assert.deepEqual(
    await shared.prepare(),
    SHARED_MIGRATIONS.map(({ name }) => name),
  );
  assert.equal(shared.state().state, 'connected');
  assert.equal(shared.localAddress(), '127.0.0.1');
});

test('transactions that lock each other out are done again until both are through', async () => {
  const [a, b] = ['lock-a', 'lock-b'];
  await shared.write('a test', (trx) => trx('shared_counters').insert([a, b].map((name) => ({ name, value: 0 }))), 'repeat');
  let tries = 0;
  let holders = 0;
  const bothHold = Promise.withResolvers<void>();
  const cross = (first: string, second: string) =>
    shared.write(
      'a test',
      async (trx) => {
        tries += 1;
        await trx('shared_counters').where({ name: first }).increment('value', 1);
        holders += 1;
        if (holders === 2) bothHold.resolve();
        // Each has its first row before either asks for the other's; who does it again does not wait.
        await bothHold.promise;
        await trx('shared_counters').where({ name: second }).increment('value', 1);
      },
      'repeat',
    );
  await Promise.all([cross(a, b), cross(b, a)]);
  assert.ok(tries > 2, `a deadlock was met: ${tries} tries`);
  const values = await shared.read('a test', (db) => db('shared_counters').whereIn('name', [a, b]).pluck('value'));
  assert.deepEqual(values.map(Number), [2, 2]);
});

for (const [when, words] of [
  ['before', 'COMMIT'],
  ['after', 'COMMIT'],
  ['before', 'shared_signers'],
  ['after', 'insert into `shared_signers`'],
] as const) {
  test(`a connection that breaks ${when} ${words} leaves the write done once, by repeating and by reading again`, async () => {
    const [repeated, decided] = [newId(), newId()];
    const cuts = proxy.cuts();
    proxy.cutAt(words, when);
    assert.equal(await shared.write('a test', (trx) => note(trx, repeated), 'repeat'), 1);
    proxy.cutAt(words, when);
    const seq = await shared.write(
      'a test',
      (trx) => note(trx, decided),
      (db) => findNote(db, decided),
    );
    assert.equal(seq, 1);
    assert.equal(proxy.cuts(), cuts + 2);
    assert.deepEqual([(await rows(repeated)).length, (await rows(decided)).length], [1, 1]);
  });
}

test('what a server was in the middle of while another took its place is undone; one that gives its place away itself may', async () => {
  const [server] = await makeUpServers(0);
  const self = server?.id as Id;
  await shared.write('a test', (trx) => insertSharedServer(trx, server as Registration), 'repeat');
  const ours = openShared(connectionTo(proxy.port), Date.now, self);
  const fence = (db: Knex) => setSharedState(db, self, { from: 'active', to: 'fenced' });
  const refused = ours.write(
    'a test',
    async (trx) => {
      await trx('shared_counters').insert({ name: 'under way', value: 1 });
      await shared.write('a test', fence, 'repeat');
    },
    'repeat',
  );
  await assert.rejects(refused, { code: 'fenced' });
  assert.deepEqual(await shared.read('a test', (db) => db('shared_counters').where({ name: 'under way' })), []);
  await shared.write('a test', (trx) => setSharedState(trx, self, { from: 'fenced', to: 'active' }), 'repeat');
  assert.equal(await ours.write('a test', fence, 'repeat', { fencesItself: true }), true);
  await assert.rejects(
    ours.write('a test', async () => 1, 'repeat'),
    { code: 'fenced' },
  );
  await ours.close();
  await shared.write('a test', (trx) => trx('shared_servers').where({ id: self }).delete(), 'repeat');
});

test('for how long a database is connected goes by no clock that is set', () => {
  let clock = 0;
  const contact = createContact(() => clock);
  assert.equal(contact.connectedMs(), 0);
  contact.reached();
  clock += 3_600_000;
  assert.ok(contact.connectedMs() < 60_000);
});

test('what the work itself refuses is passed on at once and says nothing about the database', async () => {
  let tries = 0;
  const work = shared.write(
    'a test',
    async (trx) => {
      tries += 1;
      await trx('shared_counters').insert({ name: 'undone', value: 1 });
      throw new Error('our own');
    },
    'repeat',
  );
  await assert.rejects(work, { code: 'failed' });
  assert.deepEqual([tries, shared.state().state], [1, 'connected']);
  assert.deepEqual(await shared.read('a test', (db) => db('shared_counters').where({ name: 'undone' })), []);
});

test('a database that takes no writes is told as such, and is used again when it takes them', async () => {
  mariadb.sql('set global read_only = 1');
  const write = () => shared.write('a test', (trx) => note(trx, newId()), 'repeat');
  await assert.rejects(write(), { code: 'unreachable', message: /no host takes writes \(127\.0\.0\.1:\d+ is read-only\)/ });
  mariadb.sql('set global read_only = 0');
  await new Promise((resolve) => setTimeout(resolve, 600));
  assert.equal(await write(), 1);
});

test('all connections taken is told in words', async () => {
  mariadb.sql('set global max_connections = 10');
  const late = openShared(connectionTo(mariadb.port), Date.now);
  const { user, password, name: database } = connectionTo(mariadb.port);
  const held: Connection[] = [];
  const take = async () =>
    held.push(await createConnection({ host: '127.0.0.1', port: mariadb.port, user, password: password ?? '', database }));
  try {
    await assert.rejects(
      async () => {
        for (let n = 0; n <= 10; n += 1) await take();
      },
      { code: 'ER_CON_COUNT_ERROR' },
    );
    await assert.rejects(late.prepare(), { code: 'busy', message: /every connection it allows is in use \(ER_CON_COUNT_ERROR\)/ });
  } finally {
    await Promise.all(held.map((connection) => connection.end()));
    mariadb.sql('set global max_connections = 151');
    await late.close();
  }
});

test('a wrong password and a database that is not there are told in words, without the password', async () => {
  for (const [wrong, words] of [
    [{ ...connectionTo(mariadb.port), password: 'canary' }, /it refused us: ER_ACCESS_DENIED_ERROR/],
    [{ ...connectionTo(mariadb.port), name: 'nowhere' }, /it refused us: ER_(DBACCESS_DENIED|BAD_DB)_ERROR/],
  ] as const) {
    const other = openShared(wrong, Date.now);
    await assert.rejects(other.prepare(), (error: Error & { code: string; cause: unknown }) => {
      assert.equal(error.code, 'config');
      assert.match(error.message, words);
      assert.ok(!`${error.stack} ${JSON.stringify(error)} ${JSON.stringify(error.cause)}`.includes('canary'));
      return true;
    });
    await other.close();
  }
});

test('a database that is away is told soon, to everybody, since when and why; when it is back it is used', async () => {
  states.length = 0;
  await mariadb.kill();
  const from = Date.now();
  await assert.rejects(rows('x'), { code: 'unreachable', message: /cannot be reached: (ECONN|PROTOCOL)/ });
  const asked = performance.now();
  const many = await Promise.allSettled(Array.from({ length: 50 }, () => rows('x')));
  assert.ok(many.every(({ status }) => status === 'rejected'));
  assert.ok(performance.now() - asked < 1500, 'nobody waits long');
  const [state] = states;
  assert.ok(state?.state === 'unreachable' && Math.abs(state.since - from) < 2000 && /cannot be reached/.test(state.words));
  await mariadb.start();
  const back = performance.now();
  await waitUntil('the database is used', () => rows('x').catch(() => undefined), { everyMs: 50 });
  assert.ok(performance.now() - back < 1500);
  assert.deepEqual(
    states.map((one) => one.state),
    ['unreachable', 'connected'],
  );
});

test('a network that swallows everything keeps who asks first for a statement, and nobody after him', async () => {
  const line = await startPacingProxy({ bytesPerSecond: 1e9, latencyMs: 0 });
  line.setUpstream(mariadb.port);
  const far = openShared(connectionTo(line.port), Date.now);
  const ask = async () => {
    const from = performance.now();
    const outcome = await far
      .read('a test', (db) => db('shared_signers').first())
      .then(
        () => 'reached',
        (error: { code?: string }) => error.code,
      );
    return { outcome, seconds: (performance.now() - from) / 1000 };
  };
  try {
    assert.equal((await ask()).outcome, 'reached');
    line.setSilent(true);
    const first = await ask();
    assert.ok(first.outcome === 'unreachable' && first.seconds < 17, JSON.stringify(first));
    await new Promise((resolve) => setTimeout(resolve, 600));
    const looks = ask();
    const besides = await ask();
    assert.ok(besides.outcome === 'unreachable' && besides.seconds < 0.2, JSON.stringify(besides));
    const looked = await looks;
    assert.ok(looked.outcome === 'unreachable' && looked.seconds < 7, JSON.stringify(looked));
    line.setSilent(false);
    const back = performance.now();
    await waitUntil('the database is reached', async () => (await ask()).outcome === 'reached', { everyMs: 50 });
    assert.ok(performance.now() - back < 1500);
  } finally {
    line.setSilent(false);
    await far.close();
    await line.close();
  }
});
