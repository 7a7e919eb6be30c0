import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestOf, signedBytes } from '../../../core/envelope.ts';
import { type Name, newId, parseMac } from '../../../core/ids.ts';
import { regroupTarget } from '../../../server/control/place.ts';
import { showTarget } from '../../../server/control/things-below.ts';
import { countCommands, getControlMark } from '../../../server/db/control-queue.ts';
import { listEvents } from '../../../server/db/events.ts';
import { getObject } from '../../../server/db/objects.ts';
import { getPeer } from '../../../server/db/peers.ts';
import { listServers } from '../../../server/db/servers.ts';
import { getSetting } from '../../../server/db/settings.ts';
import { lockStream, moveStream } from '../../../server/db/shared/streams.ts';
import { listSuccessions } from '../../../server/db/successions.ts';
import { setDocument } from '../../../server/documents.ts';
import { setParent } from '../../../server/shared/parents.ts';
import { deputyOf, setDeputy } from '../../../server/succession/deputy.ts';
import { readFence } from '../../../server/succession/fence.ts';
import { promoteServer } from '../../../server/succession/promote.ts';
import { addTarget } from '../../../server/targets.ts';
import { eventually, makeNode, type Node } from '../../helpers/control-sites.ts';
import { type Meeting, startMeeting } from '../../helpers/meeting.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

/** What somebody can do who took over one branch, and with it a login to the database. */

const root = await temporaryDirectory('distrust');
let meeting: Meeting;
let hq: Node;
let branch: Node;
let strict: Node;

before(async () => {
  meeting = await startMeeting(root);
  const flags = { database: meeting.database };
  hq = await makeNode(root, 'hq', undefined, { flags });
  branch = await makeNode(root, 'branch', undefined, { flags });
  strict = await makeNode(root, 'strict', undefined, { flags: { ...flags, enrolThroughDatabase: false } });
  for (const node of [hq, branch, strict])
    await eventually('all have met', async () => (await node.site.db('peers').count({ n: '*' }).first())?.['n'] === 2);
});
after(async () => {
  for (const node of [strict, branch, hq]) await node?.close();
  await meeting?.mariadb.stop();
});

/** Says that the registry changed, as who takes a place does: else it is looked at when half a minute has passed. */
const ANNOUNCED = "update shared_counters set value = value + 1 where name = 'registry'";
const forge = (sql: string) => meeting.mariadb.sqlBeside(`use meet; start transaction; ${sql}; commit`);
const add = (node: Node, name: string, n: number) =>
  addTarget(node.site, { name: name as Name, macs: [parseMac(`52540000000${n}`)] }, 'test');

test('a command that its sender did not sign is not done, and what the sender asks next is', async () => {
  const target = await add(branch, 'till', 1);
  const row = [branch.site.self.id, hq.site.self.id, 1, 0, newId(), branch.site.self.id, 'target.remove']
    .map((one) => `'${one}'`)
    .join(', ');
  await forge(`insert into shared_commands (receiver, sender, seq, after, id, dest, kind, body, actor, origin, created_at, key_id, signature) values
    (${row}, '{"targetId":"${target.id}"}', 'operator:x', '${hq.site.self.id}', 1, '${hq.site.keys.signerKeyId}', 'AAAA')`);
  const left = () => branch.site.shared?.read('a test', (db) => db('shared_commands').where({ receiver: branch.site.self.id }));
  await eventually('it is thrown away', async () => (await left())?.length === 0);
  assert.equal(await getControlMark(branch.site.db, hq.site.self.id, 'applied'), 0);
  assert.equal((await showTarget(branch.site, 'till')).id, target.id);
  await eventually('hq knows it', () => showTarget(hq.site, 'till').catch(() => undefined));
  await regroupTarget(hq.site, 'till', 'foyer' as Name, 'test');
  await eventually('what hq asks is done', async () => (await showTarget(branch.site, 'till')).group === 'foyer');
});

test('an object that was changed in the database is not taken, and those beside it are', async () => {
  const put = (name: string) => setDocument(hq.site, { type: 'parameter', name, actor: 'test' }, { value: name });
  const first = await put('one');
  await eventually('it is known', () => getObject(branch.site.db, first.id as never));
  // Its signature is of another body; its number and its mark say that it is news.
  await forge(`update shared_objects set body = replace(body, 'one', 'two'), revision = 2, seq = seq + 1 where id = '${first.id}';
    update shared_counters set value = value + 1 where name = 'streams';
    update shared_marks set seq = seq + 1, mark = (select value from shared_counters where name = 'streams') where origin = '${hq.site.self.id}' and stream = 'objects'`);
  await sleep(2_500);
  assert.equal((await getObject(branch.site.db, first.id as never))?.revision, 1);
  await put('filler');
  const second = await put('three');
  await eventually('another one is known', () => getObject(branch.site.db, second.id as never));
});

test('a server keeps the pin that it was first seen with, whatever its row says', async () => {
  const before = await getPeer(branch.site.db, hq.site.self.id);
  await forge(`update shared_servers a join shared_servers b on b.name = 'strict'
    set a.ca_pin = b.ca_pin, a.ca = b.ca, a.signer = replace(b.signer, b.id, a.id), a.url = 'https://192.0.2.1', a.revision = a.revision + 1 where a.name = 'hq'`);
  await sleep(4_500);
  assert.deepEqual(await getPeer(branch.site.db, hq.site.self.id), before);
  assert.ok((await listEvents(branch.site.db, { subject: hq.site.self.id })).some(({ kind }) => kind === 'server.met'));
});

test('a server that believes in nobody from the database alone takes neither parents nor commands from there', async () => {
  await add(strict, 'safe', 3);
  await eventually('branch knows it', () => showTarget(branch.site, 'safe').catch(() => undefined));
  await setParent(branch.site, { server: 'strict', parent: 'branch', actor: 'test' });
  await regroupTarget(branch.site, 'safe', 'foyer' as Name, 'test');
  await sleep(4_500);
  assert.equal((await listServers(strict.site.db)).length, 1);
  assert.equal((await showTarget(strict.site, 'safe')).group, null);
  // Who asked hears why, once; nothing lies in the database or waits here.
  const why = await eventually('the refusal is told', async () => {
    const events = await listEvents(branch.site.db, { origin: strict.site.self.id, limit: 1000 });
    return events.find(({ kind }) => kind === 'control.refused');
  });
  assert.deepEqual([why.data['code'], why.data['kind']], ['not_permitted', 'target.group']);
  assert.match(String(why.data['words']), /takes no commands through the database/);
  await eventually('nothing waits', async () => (await countCommands(branch.site.db, strict.site.self.id)) === 0);
  await regroupTarget(branch.site, 'safe', 'hall' as Name, 'test');
  const refusals = async () => (await listEvents(strict.site.db, { limit: 1000 })).filter(({ kind }) => kind === 'control.refused').length;
  await eventually('each is refused once', async () => (await refusals()) === 2);
  // What another wrote in its name is thrown away without a word: its next own command is still the next one.
  const row = [strict.site.self.id, branch.site.self.id, 9e15, 0, newId(), strict.site.self.id, 'target.group'].map((one) => `'${one}'`);
  await forge(`insert into shared_commands (receiver, sender, seq, after, id, dest, kind, body, actor, origin, created_at, key_id, signature) values
    (${row.join(', ')}, '{}', 'operator:x', '${branch.site.self.id}', 1, '${branch.site.keys.signerKeyId}', 'AAAA')`);
  const left = () => strict.site.shared?.read('a test', (db) => db('shared_commands').where({ receiver: strict.site.self.id }));
  await eventually('it is thrown away', async () => (await left())?.length === 0);
  assert.equal(await refusals(), 2);
});

test("a server that signs another one's object as its own, in the database as well, is not believed by whom it concerns", async () => {
  const put = (value: string) => setDocument(hq.site, { type: 'parameter', name: 'mirror', actor: 'test' }, { value });
  const made = await put('ours');
  const told = () => branch.site.shared?.read('a test', (db) => db('shared_objects').where({ id: made.id }).first('seq'));
  await eventually('it is told', async () => (await told()) !== undefined);
  const body = { type: 'parameter', name: 'mirror', content: { value: 'theirs' } };
  const unsigned = { kind: 'document', id: made.id, origin: branch.site.self.id, revision: 99, digest: digestOf(body) } as const;
  const keyId = branch.site.keys.signerKeyId;
  const signature = branch.site.keys.sign(signedBytes({ ...unsigned, keyId }));
  const before = (await getSetting(hq.site.db, `doubted.${branch.site.self.id}`)) ?? null;
  await branch.site.shared?.write(
    'a test',
    async (trx) => {
      const held = await lockStream(trx, branch.site.self.id, 'objects');
      const row = { origin: unsigned.origin, revision: 99, body: JSON.stringify(body), digest: unsigned.digest, key_id: keyId, signature };
      await trx('shared_objects')
        .where({ id: made.id })
        .update({ ...row, seq: held + 1 });
      await moveStream(trx, { origin: branch.site.self.id, stream: 'objects', seq: held + 1 }, held);
    },
    'repeat',
  );
  await eventually('hq has seen it', async () => (await getSetting(hq.site.db, `doubted.${branch.site.self.id}`)) !== undefined);
  assert.equal(before, null);
  assert.deepEqual(
    [(await getObject(hq.site.db, made.id))?.origin, (await getObject(hq.site.db, made.id))?.revision],
    [hq.site.self.id, 1],
  );
});

test('who was promoted by the database alone is not believed by a server that believes in nobody from there, nor is that one fenced', async () => {
  await forge(`insert into shared_successions (predecessor, successor, at, actor, asked_at, objects)
    values ('${strict.site.self.id}', '${branch.site.self.id}', 1, 'x', '${branch.site.self.id}', 0); ${ANNOUNCED}`);
  await eventually('others believe it', async () => (await listSuccessions(hq.site.db)).length === 1);
  await sleep(2_500);
  assert.deepEqual(await listSuccessions(strict.site.db), []);
  assert.equal(await readFence(strict.site.db), undefined);
});

test('where a server has said who may take its place, the database cannot say otherwise', async () => {
  await setDeputy(hq.site, { server: null, actor: 'test' });
  await eventually('branch knows', async () => (await deputyOf(branch.site.db, hq.site.self.id)) === null);
  await assert.rejects(
    promoteServer(branch.site, { server: 'branch', insteadOf: 'hq', evenIfAlive: true, isDryRun: false, actor: 'test' }),
    { code: 'wrong_state', message: /hq has said that nobody may take its place/ },
  );
  await forge(`insert into shared_successions (predecessor, successor, at, actor, asked_at, objects)
    values ('${hq.site.self.id}', '${branch.site.self.id}', 1, 'x', '${branch.site.self.id}', 0);
    update shared_servers set state = 'fenced', revision = revision + 1 where id = '${hq.site.self.id}'; ${ANNOUNCED}`);
  const doubts = async ({ site }: Node) =>
    (await listEvents(site.db, { subject: hq.site.self.id })).filter(({ kind }) => kind === 'server.place-doubted');
  for (const node of [hq, branch]) await eventually('it is doubted', async () => (await doubts(node)).length === 1);
  assert.equal(
    (await listSuccessions(branch.site.db)).some(({ predecessor }) => predecessor === hq.site.self.id),
    false,
  );
  assert.equal(await readFence(hq.site.db), undefined);
});
