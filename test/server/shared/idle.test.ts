import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Knex } from 'knex';
import type { Id } from '../../../core/ids.ts';
import { listSentTo } from '../../../server/db/shared/commands.ts';
import { beat } from '../../../server/db/shared/servers.ts';
import { type Heard, hearNews } from '../../../server/shared/hear.ts';
import { takeLease } from '../../../server/shared/leases.ts';
import { meet, startMeeting as startLooking } from '../../../server/shared/meet.ts';
import type { Shared } from '../../../server/shared/open.ts';
import { followRegistry, nothingSeen } from '../../../server/shared/registry.ts';
import type { Site } from '../../../server/site.ts';
import { type Meeting, startMeeting } from '../../helpers/meeting.ts';
import { makeSite } from '../../helpers/replication-sites.ts';
import { markTold, register } from '../../helpers/scale/meeting-rows.ts';
import { makeUpServers } from '../../helpers/scale/servers.ts';
import { type Statement, statementsOf } from '../../helpers/statements.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

/** What a server asks of the database every second must not grow with who meets there: each of 500 asks it of the same one. */

const root = await temporaryDirectory('idle');
const SERVERS = 40;
let meeting: Meeting;
let site: Site;
let shared: Shared;
let others: Awaited<ReturnType<typeof makeUpServers>>;

before(async () => {
  meeting = await startMeeting(root);
  site = await makeSite(root, 'hq', { database: meeting.database });
  shared = site.shared as Shared;
  others = await makeUpServers(SERVERS);
  await register(shared, others, { alarms: [] });
});
after(async () => {
  await site?.close();
  await meeting?.mariadb.stop();
});

const neverMeet = async () => assert.fail('everybody is known');

async function asked(work: () => Promise<unknown>): Promise<Statement[]> {
  const db = await shared.read('a test', async (one: Knex) => ({ one }));
  return statementsOf(db.one, work);
}

const rowsIn = (statements: readonly Statement[]) => statements.reduce((sum, { rows }) => sum + rows, 0);

test('a look at who meets there reads one row while nothing changed, and two statements tell of all who came', async () => {
  const seen = nothingSeen();
  assert.equal((await followRegistry(site, shared, seen)).length, SERVERS + 2);
  const idle = await asked(() => followRegistry(site, shared, seen));
  assert.deepEqual([idle.length, rowsIn(idle)], [1, 1]);
  const [first] = others;
  await shared.write('a test', (trx) => beat(trx, first?.id as Id, { alarms: ['new'] }), 'repeat');
  assert.equal((await asked(() => followRegistry(site, shared, seen))).length, 1);
  const fresh = nothingSeen();
  assert.equal((await asked(() => followRegistry(site, shared, fresh))).length, 3);
});

test('a look that brings nothing reads no row; one at everything asks for nothing that is known here', async () => {
  const streams = ['events', 'states', 'objects'] as const;
  const told = others.flatMap(({ id }) => streams.map((stream) => ({ origin: id, stream, seq: 7 })));
  await shared.write('a test', (trx) => trx('shared_objects').delete(), 'repeat');
  await markTold(shared, told);
  for (const { origin, stream, seq } of told) {
    if (stream === 'objects') await site.db('peers').where({ id: origin }).update({ held_objects: seq });
    else await site.db('report_marks').insert({ origin, stream, seq });
  }
  const heard: Heard = { mark: 0 };
  const whole = await asked(() => hearNews(site, shared, heard, neverMeet));
  assert.deepEqual([whole.length, rowsIn(whole)], [2, told.length], JSON.stringify(whole));
  const idle = await asked(async () => {
    await hearNews(site, shared, heard, neverMeet);
    await shared.read('a test', (db) => listSentTo(db, site.self.id, 100));
  });
  assert.deepEqual([idle.length, rowsIn(idle)], [2, 0]);
});

test('one stream that moved is looked for alone, here and there', async () => {
  const heard: Heard = { mark: 0 };
  await hearNews(site, shared, heard, neverMeet);
  const [, second] = others;
  await markTold(shared, [{ origin: second?.id as Id, stream: 'objects', seq: 8 }]);
  const news = await asked(() => hearNews(site, shared, heard, neverMeet));
  assert.equal(rowsIn(news), 1);
  await markTold(shared, [{ origin: second?.id as Id, stream: 'objects', seq: 9 }]);
  const here = await statementsOf(site.db, () => hearNews(site, shared, heard, neverMeet));
  assert.ok(rowsIn(here) < 10, `${rowsIn(here)} rows were read here`);
});

test('who cannot have a lease reads one row and begins no transaction; who can has it with the next look', async () => {
  const [holder, other] = others.map(({ id }) => id as string);
  const lease = await takeLease(shared, { name: 'idle', holder: holder as string });
  assert.equal(lease?.fencing, 1);
  const looked = await asked(async () => assert.equal(await takeLease(shared, { name: 'idle', holder: other as string }), undefined));
  assert.deepEqual([looked.length, rowsIn(looked)], [1, 1]);
  meeting.mariadb.sql("update meet.shared_leases set expires_at = 1 where name = 'idle'");
  assert.equal((await takeLease(shared, { name: 'idle', holder: other as string }))?.fencing, 2);
});

test('what was seen of the others stays when something behind it fails, and what failed is done again', async () => {
  const looking = startLooking();
  // The first words of it; who was promoted is looked for behind it.
  const failing: Shared = {
    ...shared,
    read: (what, work) => (what === 'looking who was promoted' ? Promise.reject(new Error('the line broke')) : shared.read(what, work)),
  };
  await assert.rejects(meet(site, failing, looking), /the line broke/);
  const again = await asked(() => meet(site, shared, looking));
  const whole = again.filter(({ sql }) => /`shared_servers` where `id` in/.test(sql));
  assert.deepEqual([looking.isSettled, rowsIn(whole)], [true, 0]);
  assert.equal((await asked(() => meet(site, shared, looking))).length, 1);
});
