import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Name, newId, parseMac } from '../../../core/ids.ts';
import { regroupTarget } from '../../../server/control/place.ts';
import { showTarget } from '../../../server/control/things-below.ts';
import { getControlMark } from '../../../server/db/control-queue.ts';
import { appendEvent, newestEvent } from '../../../server/db/events.ts';
import { getObject, newestMade } from '../../../server/db/objects.ts';
import { inTransaction } from '../../../server/db/open.ts';
import { getPeer } from '../../../server/db/peers.ts';
import { getSharedServer, listNewlySilent } from '../../../server/db/shared/servers.ts';
import { setDocument } from '../../../server/documents.ts';
import { addTarget } from '../../../server/targets.ts';
import { eventually } from '../../helpers/control-sites.ts';
import { startMeetingNodes } from '../../helpers/meeting-nodes.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

/** Rows that no server writes stand in the shared database: they are passed over, and what is behind them counts. */

const root = await temporaryDirectory('junk');
const { meeting, nodes } = await startMeetingNodes(root, ['hq', 'branch']);
const [hq, branch] = nodes;
await addTarget(branch.site, { name: 'till' as Name, macs: [parseMac('525400000001')] }, 'test');
await eventually('hq knows the machine', () => showTarget(hq.site, 'till').catch(() => undefined));

const forge = (sql: string) => meeting.mariadb.sqlBeside(`use meet; start transaction; ${sql}; commit`);
const DEEP = `${'['.repeat(500)}${']'.repeat(500)}`;
const LONG = `repeat('x', 2000000)`;

test('a registry row whose documents are none is read all the same', async () => {
  const { id } = hq.site.self;
  const revision = (await getPeer(branch.site.db, id))?.revision ?? 0;
  await forge(`update shared_servers set report = '{', enrol = ${LONG}, revision = revision + 1 where id = '${id}'`);
  await eventually('it was looked at', async () => (await getPeer(branch.site.db, id))?.revision === revision + 1);
  await forge(`update shared_servers set heartbeat_at = -9000000000000000000, registered_at = 9000000000000000000 where id = '${id}'`);
  const read = await branch.site.shared?.read('a test', async (db) => [await getSharedServer(db, id), await listNewlySilent(db, 60_000)]);
  assert.doesNotThrow(() => JSON.stringify(read));
});

test('who is taken out of the registry and registers again is known again', async () => {
  await forge(
    `delete from shared_servers where id = '${hq.site.self.id}'; update shared_counters set value = value + 1 where name = 'registry'`,
  );
  await eventually('it has left', async () => (await getPeer(branch.site.db, hq.site.self.id))?.state === 'retired');
  hq.site.wake.notify('shared.beat');
  await eventually('it is back', async () => (await getPeer(branch.site.db, hq.site.self.id))?.state === 'active');
});

test('objects that are no JSON, too long or too deep keep nobody from those behind them', async () => {
  const origin = hq.site.self.id;
  const seq = await newestMade(hq.site.db, origin);
  const rows = [`'{'`, LONG, `'${DEEP}'`, `'{"type":"parameter"}'`].map(
    (body) => `('${newId()}', 'document', '${origin}', 1, ${body}, 'x', 'x', 'x', 0, ${seq + 1})`,
  );
  await forge(`insert into shared_objects (id, kind, origin, revision, body, digest, key_id, signature, deleted, seq) values ${rows.join()};
    insert into shared_signers (key_id, server_id, record) values ('x', '${origin}', '{')`);
  const { id } = await setDocument(hq.site, { type: 'parameter', name: 'one', actor: 'test' }, { value: 'one' });
  await eventually('the document is known', () => getObject(branch.site.db, id as never));
});

test('events and states that cannot be read are passed over, and so are streams of strangers and of later releases', async () => {
  const origin = hq.site.self.id;
  await branch.stop();
  await inTransaction(hq.site.db, async (trx) => {
    for (let n = 0; n < 6; n += 1)
      await appendEvent(trx, { origin, at: 1, actor: 'test', kind: 'test.happened', subject: 's', data: { n } });
  });
  hq.site.wake.notify('events');
  const last = await newestEvent(hq.site.db, origin);
  const told = () => hq.site.shared?.read('a test', (db) => db('shared_events').where({ origin, seq: last }).first());
  await eventually('all is told', async () => (await told()) !== undefined);
  await forge(`update shared_events set data = '{' where origin = '${origin}' and seq = ${last - 1};
    update shared_events set data = 'null' where origin = '${origin}' and seq = ${last - 2};
    update shared_events set data = ${LONG} where origin = '${origin}' and seq = ${last - 4};
    insert into shared_reports (origin, kind, subject, seq, body, at) values ('${origin}', 'target', 'x', 1, '${DEEP}', 1);
    insert into shared_marks (origin, stream, seq, mark) values ('nobody', 'events', 5, 0), ('${origin}', 'later', 5, 9007199254740993)`);
  await branch.start();
  const seqs = async () => (await branch.site.db('events').where({ origin }).orderBy('seq').pluck('seq')).map(Number).slice(-3);
  await eventually('the rest is there', async () => (await seqs()).join() === [last - 5, last - 3, last].join());
  assert.deepEqual(await branch.site.db('report_marks').whereIn('stream', ['later']).orWhere({ origin: 'nobody' }), []);
});

test('commands that nobody can do, of however many senders, keep nobody back', async () => {
  const [to, from] = [branch.site.self.id, hq.site.self.id];
  const stranger = '00000000-0000-7000-8000-000000000000';
  const row = (sender: string, seq: number, after: number, body: string) =>
    `('${to}', '${sender}', ${seq}, ${after}, '${newId()}', '${to}', 'target.remove', ${body}, 'x', '${sender}', 1, '${hq.site.keys.signerKeyId}', 'AAAA')`;
  const stuck = Array.from({ length: 120 }, (_, n) => row(stranger, 10 + n, 9, `'{}'`));
  const unreadable = [row(from, 1, 0, `'{'`), row(from, 2, 0, LONG), row(from, 3, 0, `'{"a":"\\\\ud800"}'`)];
  await forge(`insert into shared_commands (receiver, sender, seq, after, id, dest, kind, body, actor, origin, created_at, key_id, signature)
      values ${[...stuck, ...unreadable].join()};
    insert into shared_done (sender, receiver, seq) values ('${from}', '${to}', 9007199254740991) on duplicate key update seq = 9007199254740991`);
  for (const group of ['foyer', 'cellar']) {
    await regroupTarget(hq.site, 'till', group as Name, 'test');
    await eventually('what hq asks is done', async () => (await showTarget(branch.site, 'till')).group === group);
  }
  assert.ok((await getControlMark(branch.site.db, from, 'applied')) < 10);
});

test('an address with the port that needs none is known without it, and one that is more than an address is not', async () => {
  const { id } = hq.site.self;
  const known = async () => (await getPeer(branch.site.db, id))?.url;
  const say = (url: string) =>
    forge(`update shared_servers set url = '${url}', revision = revision + 1 where id = '${id}';
      update shared_counters set value = value + 1 where name = 'registry'`);
  await say('https://192.0.2.1:443');
  await eventually('its address is known', async () => (await known()) === 'https://192.0.2.1');
  await say('https://user@192.0.2.1/elsewhere');
  await eventually('that is none', async () => (await known()) === null);
});
