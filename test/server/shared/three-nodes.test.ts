import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Knex } from 'knex';
import { newId } from '../../../core/ids.ts';
import { SHARED_MIGRATIONS } from '../../../migrations/shared/index.ts';
import type { MysqlConnection } from '../../../server/db/dialect-mysql.ts';
import type { Lease } from '../../../server/db/leases.ts';
import { newestNumber, takeNumbers } from '../../../server/db/shared/counters.ts';
import { acquireSharedLease } from '../../../server/db/shared/leases.ts';
import { lockStream, moveStream } from '../../../server/db/shared/streams.ts';
import { fenced } from '../../../server/shared/leases.ts';
import { openShared, type Shared } from '../../../server/shared/open.ts';
import { eventually } from '../../helpers/control-sites.ts';
import { endInReverse } from '../../helpers/end-in-reverse.ts';
import { startGalera } from '../../helpers/galera/cluster.ts';
import type { GaleraNode } from '../../helpers/galera/node.ts';
import { howMany } from '../../helpers/how-many.ts';
import { waitUntil } from '../../helpers/wait-until.ts';

/** How often all nodes are killed at once. */
const ALL_DOWN = howMany({ sample: 1, full: 10 });

const cluster = await startGalera();
const ends = { after };
endInReverse(ends, () => cluster.stop());
await cluster.createDatabase('meeting');
const [a, b, c] = cluster.nodes as [GaleraNode, GaleraNode, GaleraNode];

function openAt(...numbers: number[]): Shared {
  const hosts = numbers.map((n) => cluster.hosts[n] as string);
  const connection: MysqlConnection = { kind: 'mysql', hosts, user: 'waystation', name: 'meeting', password: cluster.password };
  const shared = openShared(connection, Date.now);
  endInReverse(ends, () => shared.close());
  return shared;
}

/** One server at each node; and one that may go to all of them. */
const [atA, atB, atC] = [openAt(0), openAt(1), openAt(2)];
const anywhere = openAt(0, 1, 2);
const everywhere = [atA, atB, atC];

/** A row of its own under a number: what is there twice, or half, shows. */
async function note(trx: Knex.Transaction, counter: string): Promise<number> {
  const number = await takeNumbers(trx, counter, 1);
  await trx('shared_signers').insert({ key_id: newId(), server_id: counter, record: String(number) });
  return number;
}
const write = (shared: Shared, counter = 'any') => shared.write('a test', (trx) => note(trx, counter), 'repeat');
const notesOf = async (shared: Shared, counter: string) => {
  const rows: string[] = await shared.read('a test', (db) => db('shared_signers').where({ server_id: counter }).pluck('record'));
  return rows.map(Number).sort((one, other) => one - other);
};
/** The node that a server writes to. */
const placeOf = (shared: Shared) =>
  shared.write('a test', async (trx) => ((await trx.raw('select @@wsrep_node_name as name'))[0][0] as { name: string }).name, 'repeat');

test('three servers make the tables at three nodes at the same time; every table has a primary key, and none counts by itself', async () => {
  const made = await Promise.all(everywhere.map((shared) => shared.prepare()));
  const all = SHARED_MIGRATIONS.map(({ name }) => name);
  for (const names of made) assert.ok(names.length === 0 || names.length === all.length);
  const tables = `select table_name as name from information_schema.tables where table_schema = 'meeting'`;
  const odd = await c.ask(
    `${tables} and (engine <> 'InnoDB' or auto_increment is not null or table_name not in
      (select table_name from information_schema.statistics where table_schema = 'meeting' and index_name = 'PRIMARY'))`,
  );
  assert.deepEqual(odd, []);
  assert.ok((await c.ask(tables)).length > 10);
});

test('what was written at one node is there for who reads at another one right afterwards', async () => {
  for (let n = 1; n <= 20; n++) {
    const number = await write(everywhere[n % 3] as Shared, 'read-back');
    assert.equal(await (everywhere[(n + 1) % 3] as Shared).read('a test', (db) => newestNumber(db, 'read-back')), number);
  }
});

test('two servers that write the same rows at two nodes at once are undone at COMMIT and do it again: nothing twice, nothing left out', async () => {
  let waiting = 0;
  let tries = 0;
  const meet = (shared: Shared) => {
    let isFirst = true;
    const work = async (trx: Knex.Transaction) => {
      tries += 1;
      const number = await note(trx, 'met');
      waiting += 1;
      // Both have written and neither has committed.
      if (isFirst) await waitUntil('both have written', () => waiting >= 2, { everyMs: 5 });
      isFirst = false;
      return number;
    };
    return shared.write('a test', work, 'repeat');
  };
  assert.deepEqual((await Promise.all([meet(atA), meet(atB)])).sort(), [1, 2]);
  assert.ok(tries > 2, `one was undone: ${tries} tries`);
});

test('numbers that are taken at three nodes at once are all different, without gaps, and streams move under them in their order', async () => {
  const done = await Promise.all(Array.from({ length: 45 }, (_, n) => write(everywhere[n % 3] as Shared, 'many')));
  const numbers = Array.from({ length: 45 }, (_, n) => n + 1);
  assert.deepEqual(
    done.sort((one, other) => one - other),
    numbers,
  );
  for (const shared of everywhere) assert.deepEqual(await notesOf(shared, 'many'), numbers);
  const origin = newId();
  const tell = async (trx: Knex.Transaction) => {
    const held = await lockStream(trx, origin, 'events');
    await moveStream(trx, { origin, stream: 'events', seq: held + 1 }, held);
  };
  await Promise.all(Array.from({ length: 12 }, (_, n) => (everywhere[n % 3] as Shared).write('a test', tell, 'repeat')));
  assert.deepEqual(await atC.read('a test', (db) => db('shared_marks').where({ origin }).pluck('seq')), [12]);
});

test('who held a lease writes nothing any more when it was taken at another node, of which its own node has not heard', async () => {
  await a.ask('create table meeting.busy (id int primary key) engine=InnoDB');
  await eventually('the table at b', () =>
    b.ask('select * from meeting.busy').then(
      () => true,
      () => false,
    ),
  );
  const take = (shared: Shared, holder: string, ttlMs: number) =>
    shared.write('a test', (trx) => acquireSharedLease(trx, { name: 'crossed', holder, ttlMs }), 'repeat');
  const lease = (await take(atA, 'first', 1)) as Lease;
  await sleep(20);
  const late = await a.hold('lock tables meeting.busy read');
  let tries = 0;
  const work = async (trx: Knex.Transaction) => {
    await fenced(trx, lease);
    if (++tries === 1) {
      // Node a has to do this before it hears of the lease, and cannot yet.
      await b.ask('insert into meeting.busy values (1)');
      assert.equal((await take(atB, 'second', 60_000))?.fencing, 2);
      setTimeout(() => void late.end(), 500);
    }
    await note(trx, 'crossed');
  };
  await assert.rejects(atA.write('a test', work, 'repeat'), { code: 'run_in_progress' });
  assert.deepEqual(await notesOf(atC, 'crossed'), []);
});

test('a lease has one holder over all nodes at any time, its numbers rise, and what was done under it is in their order', async () => {
  const until = performance.now() + 4_000;
  const compete = async (shared: Shared, holder: string) => {
    while (performance.now() < until) {
      const wish = { name: 'contended', holder, ttlMs: 80 };
      const lease = await shared.write('a test', (trx) => acquireSharedLease(trx, wish), 'repeat');
      for (let n = 0; lease !== undefined && n < 20; n++) {
        const under = async (trx: Knex.Transaction) => {
          await fenced(trx, lease);
          const seq = await takeNumbers(trx, 'contended', 1);
          await trx('shared_events').insert({
            origin: 'contended',
            seq,
            at: lease.fencing,
            actor: holder,
            kind: 'x',
            subject: 'x',
            data: '{}',
          });
        };
        const isOver = await shared.write('a test', under, 'repeat').then(
          () => false,
          (error: { code: string }) => error.code === 'run_in_progress',
        );
        if (isOver) break;
      }
      await sleep(10);
    }
  };
  await Promise.all([...everywhere, ...everywhere].map((shared, n) => compete(shared, `holder ${n}`)));
  const done: { at: string; actor: string }[] = await atC.read('a test', (db) =>
    db('shared_events').where({ origin: 'contended' }).orderBy('seq').select('at', 'actor'),
  );
  const numbers = done.map(({ at }) => Number(at));
  assert.ok(new Set(numbers).size > 3, `the lease went round: ${new Set(numbers).size}`);
  assert.deepEqual(
    numbers,
    [...numbers].sort((one, other) => one - other),
  );
  assert.equal(new Set(done.map(({ at, actor }) => `${at} ${actor}`)).size, new Set(numbers).size, 'one holder for each number');
});

test('a node that was made read-only is left for another one', async () => {
  const place = await placeOf(anywhere);
  const node = cluster.nodes.find(({ name }) => name === place) as GaleraNode;
  await node.ask('set global read_only = 1');
  const before = await notesOf(anywhere, 'read-only');
  for (let n = 0; n < 8; n++) await write(anywhere, 'read-only');
  assert.equal((await notesOf(anywhere, 'read-only')).length, before.length + 8);
  assert.notEqual(await placeOf(anywhere), place);
  await node.ask('set global read_only = 0');
});

test('a node that lost the others is left for another one, also in the middle of COMMIT, and is as they are when it is back', async () => {
  const place = await placeOf(anywhere);
  const node = cluster.nodes.find(({ name }) => name === place) as GaleraNode;
  let isOver = false;
  const done: number[] = [];
  // While those who are left find out that they are enough, no node takes writes: that is said in words, and nothing else is.
  const inWords = (error: { code: string }) => {
    if (error.code !== 'unreachable') throw error;
    return sleep(20);
  };
  const keepWriting = async () => {
    while (!isOver) await write(anywhere, 'partition').then((number) => void done.push(number), inWords);
  };
  const writing = Promise.all([keepWriting(), keepWriting(), keepWriting()]);
  try {
    await sleep(300);
    await node.isolate(true);
    await waitUntil('another node', () => placeOf(anywhere).then((name) => name !== place, inWords), { during: writing });
    const from = done.length;
    await waitUntil('writes there', () => done.length > from + 5, { during: writing });
  } finally {
    isOver = true;
    await Promise.allSettled([writing]);
    await node.isolate(false);
    // Whatever it was: with two nodes only the tests behind this one would fail as well.
    await node.synced();
  }
  await writing;
  for (const shared of everywhere) {
    const there = new Set(await eventually('the node', () => notesOf(shared, 'partition').catch(() => undefined)));
    assert.deepEqual(
      done.filter((number) => !there.has(number)),
      [],
    );
  }
});

test('a node that says nothing at all is left by all connections at once, for one that answers', async () => {
  await Promise.all(Array.from({ length: 4 }, () => write(anywhere, 'silent')));
  const place = await placeOf(anywhere);
  const node = cluster.nodes.find(({ name }) => name === place) as GaleraNode;
  try {
    await node.pause();
    const from = performance.now();
    await write(anywhere, 'silent');
    assert.ok(performance.now() - from < 30_000, `${Math.round(performance.now() - from)} ms`);
    assert.notEqual(await placeOf(anywhere), place);
  } finally {
    node.resume();
  }
  await eventually('the node is as the others', () => cluster.isAlike('meeting').catch(() => false));
});

test('with every node alone a write ends in words, and goes on when they have found one another', async () => {
  await write(anywhere, 'alone');
  await Promise.all(cluster.nodes.map((node) => node.isolate(true)));
  await eventually('words', () =>
    write(anywhere, 'alone').then(
      () => false,
      (error: { code: string; message: string }) => error.code === 'unreachable' && /no host takes writes/.test(error.message),
    ),
  );
  await Promise.all(cluster.nodes.map((node) => node.isolate(false)));
  await Promise.all(cluster.nodes.map((node) => node.synced()));
  await eventually('a write', () => write(anywhere, 'alone').catch(() => undefined));
});

test(`the whole cluster is killed (${ALL_DOWN} times) and made anew of the node that went furthest: all that was acknowledged is there`, async () => {
  const done: number[] = [];
  for (let time = 1; time <= ALL_DOWN; time++) {
    let isOver = false;
    const keepWriting = async () => {
      while (!isOver)
        await write(anywhere, 'all-down').then(
          (number) => done.push(number),
          () => sleep(20),
        );
    };
    const writing = Promise.all([keepWriting(), keepWriting()]);
    const from = done.length;
    try {
      await waitUntil('writes', () => done.length > from + 10, { during: writing });
      await Promise.all(cluster.nodes.map((node) => node.kill()));
      await waitUntil('words', () => anywhere.state().state === 'unreachable', { during: writing });
    } finally {
      isOver = true;
    }
    await writing;
    await cluster.bootstrap();
    await eventually('a write', () => write(anywhere, 'after').catch(() => undefined));
  }
  const there = new Set(await notesOf(anywhere, 'all-down'));
  const lost = done.filter((number) => !there.has(number));
  console.log(`whole cluster killed ${ALL_DOWN} times: ${done.length} writes acknowledged, ${lost.length} lost`);
  assert.deepEqual(lost, []);
});
