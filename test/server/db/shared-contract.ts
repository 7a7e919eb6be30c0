import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Knex } from 'knex';
import type { Envelope } from '../../../core/envelope.ts';
import { type Digest, type Id, type Name, newId } from '../../../core/ids.ts';
import { SHARED_MIGRATIONS } from '../../../migrations/shared/index.ts';
import { readDatabaseTime } from '../../../server/db/dialect-time.ts';
import { inTransaction, isUniqueViolation } from '../../../server/db/open.ts';
import {
  dropSent,
  listDone,
  listSentKeys,
  listSentTo,
  noteDone,
  replaceSent,
  type SentCommand,
} from '../../../server/db/shared/commands.ts';
import { newestNumber, takeNumbers } from '../../../server/db/shared/counters.ts';
import {
  acquireSharedLease,
  holdSharedLease,
  listSharedLeases,
  releaseSharedLease,
  renewSharedLease,
} from '../../../server/db/shared/leases.ts';
import { migrateShared, missingInShared } from '../../../server/db/shared/migrate.ts';
import {
  listSharedObjects,
  listSharedSigners,
  type Numbered,
  putSharedObjects,
  putSharedSigners,
} from '../../../server/db/shared/objects.ts';
import {
  countShared,
  findTargetOrigins,
  listSharedEvents,
  listSharedStates,
  putSharedEvents,
  putSharedStates,
  putSharedWords,
} from '../../../server/db/shared/reports.ts';
import {
  beat,
  findSharedServer,
  freeName,
  getSharedServer,
  insertSharedServer,
  listSharedServers,
  listSharedServersOf,
  listSharedTree,
  type Registration,
  registryNumber,
  releaseParent,
  removeUnused,
  setEnrolment,
  setSharedState,
  updateRegistration,
  wishParent,
} from '../../../server/db/shared/servers.ts';
import { getStream, listMoved, lockStream, moveStream } from '../../../server/db/shared/streams.ts';
import { hashOf } from '../../helpers/digests.ts';

const digest = `sha256:${'a'.repeat(64)}` as Digest;

function registration(name: string, id = newId()): Registration {
  const signer = { serverId: id, keyId: digest, publicKey: 'k', ca: 'pem', signature: 's' };
  return { id, name: name as Name, url: 'https://a:443', caPin: digest, ca: 'pem', signer, version: '1.0.0', epoch: 1 };
}

function envelope(origin: Id, revision = 1, id = newId()): Envelope {
  return { kind: 'document', id, origin, revision, body: { text: 'ü€😀' }, digest, keyId: digest, signature: 's' };
}

/** What every database where servers meet must do alike. `connect` gives an empty one; the suite closes it. */
export function sharedContract(name: string, connect: () => Promise<Knex>): void {
  describe(`shared database contract on ${name}`, () => {
    let db: Knex;
    const write = <Result>(work: (trx: Knex.Transaction) => Promise<Result>) => inTransaction(db, work);
    before(async () => {
      db = await connect();
    });
    after(() => db.destroy());

    it('gets its tables once, also from several servers at the same time and after one that died at it', async () => {
      const all = SHARED_MIGRATIONS.map((migration) => migration.name);
      assert.deepEqual(await missingInShared(db), all);
      await SHARED_MIGRATIONS[0]?.up(db);
      const made = await Promise.all([migrateShared(db), migrateShared(db), migrateShared(db)]);
      for (const names of made) assert.ok(names.length === 0 || names.length === all.length);
      assert.deepEqual(await missingInShared(db), []);
      assert.deepEqual(await migrateShared(db), []);
    });

    it('is used as it is when a newer release has added to it', async () => {
      await db('shared_schema').insert({ name: 'shared-9999-later' });
      assert.deepEqual([await missingInShared(db), await migrateShared(db)], [[], []]);
    });

    it('has one clock, that of the database, in epoch milliseconds', async () => {
      const [from, there] = [Date.now(), await readDatabaseTime(db)];
      assert.ok(there >= from - 1000 && there <= Date.now() + 1000, `${there} beside ${from}`);
    });

    it('keeps a server with its times, and one name for one server', async () => {
      const hq = registration('hq');
      await insertSharedServer(db, hq);
      const row = await getSharedServer(db, hq.id);
      assert.deepEqual([row?.signer, row?.state, row?.heartbeatAt, row?.report, row?.parentId], [hq.signer, 'active', null, null, null]);
      assert.ok(Math.abs((row?.registeredAt ?? 0) - Date.now()) < 5000);
      await assert.rejects(insertSharedServer(db, registration('hq')), (error) => isUniqueViolation(error));
      assert.equal(await beat(db, hq.id, { alarms: ['ü'] }), true);
      assert.equal(await beat(db, hq.id), true);
      const after = await findSharedServer(db, 'hq');
      assert.deepEqual(after?.report, { alarms: ['ü'] });
      assert.ok((after?.heartbeatAt ?? 0) >= (row?.registeredAt ?? 0));
      assert.equal(await updateRegistration(db, { ...hq, url: 'https://b' }), true);
      assert.equal(await updateRegistration(db, registration('nobody')), false);
      assert.deepEqual([(await getSharedServer(db, hq.id))?.url, await removeUnused(db, hq.id)], ['https://b', false]);
    });

    it('changes a wish only where it is as it was seen', async () => {
      const [hq] = await listSharedServers(db);
      const branch = registration('branch');
      await insertSharedServer(db, branch);
      assert.equal(await wishParent(db, branch.id, { parentId: hq?.id ?? null, file: null, revision: 1 }), true);
      assert.equal(await wishParent(db, branch.id, { parentId: null, file: 'tree.yaml', revision: 1 }), false);
      assert.equal(await setEnrolment(db, branch.id, { enrol: { csr: 'x' }, revision: 2 }), true);
      const row = await getSharedServer(db, branch.id);
      assert.deepEqual(
        [row?.parentId, row?.parentBy, row?.parentRevision, row?.enrol, row?.revision],
        [hq?.id, 'operator', 1, { csr: 'x' }, 3],
      );
      const tree = await listSharedTree(db);
      assert.deepEqual(
        tree.map((one) => [one.name, one.parentId]),
        [
          ['branch', hq?.id],
          ['hq', null],
        ],
      );
    });

    it('lets a fenced server write nothing of itself, and frees the name of one that left', async () => {
      const old = registration('old');
      await insertSharedServer(db, old);
      assert.equal(await setSharedState(db, old.id, { from: 'active', to: 'fenced' }), true);
      assert.deepEqual([await beat(db, old.id), await updateRegistration(db, old)], [false, false]);
      assert.equal(await setSharedState(db, old.id, { from: 'active', to: 'retired' }), false);
      assert.equal(await freeName(db, { id: old.id, name: old.name, revision: 2 }), true);
      await insertSharedServer(db, registration('old'));
      assert.equal((await getSharedServer(db, old.id))?.name, old.id);
    });

    it('gives the registry a new number with every change of it, and none with a heartbeat or the same words again', async () => {
      const moved = async (work: () => Promise<unknown>) => {
        const before = await registryNumber(db);
        await work();
        return (await registryNumber(db)) > before;
      };
      const one = registration('numbered');
      const row = async () => (await getSharedServer(db, one.id))?.revision ?? 0;
      const changes: [string, () => Promise<unknown>][] = [
        ['it comes', () => insertSharedServer(db, one)],
        ['it has another address', () => updateRegistration(db, { ...one, url: 'https://c' })],
        ['it is to have a parent', async () => wishParent(db, one.id, { parentId: null, file: 'tree.yaml', revision: await row() })],
        ["its parent is nobody's wish", () => releaseParent(db, one.id)],
        ['it enrols', async () => setEnrolment(db, one.id, { enrol: { csr: 'x' }, revision: await row() })],
        ['it leaves', () => setSharedState(db, one.id, { from: 'active', to: 'retired' })],
        ['its name is free', async () => freeName(db, { id: one.id, name: one.name, revision: await row() })],
        ['it is forgotten', () => removeUnused(db, one.id)],
      ];
      for (const [what, work] of changes) assert.equal(await moved(work), true, what);
      const hq = await findSharedServer(db, 'hq');
      assert.ok(hq !== undefined);
      assert.equal(await moved(() => beat(db, hq.id, { alarms: ['new'] })), false);
      assert.equal(await moved(() => updateRegistration(db, hq)), false);
      assert.equal(await moved(() => setSharedState(db, hq.id, { from: 'fenced', to: 'active' })), false);
      const [found] = await listSharedServersOf(db, [hq.id]);
      assert.deepEqual([found?.name, found?.signer, 'report' in (found ?? {})], ['hq', hq.signer, false]);
    });

    it('numbers changes in the order of their commits, without loss when many write at once', async () => {
      const taken = await Promise.all(Array.from({ length: 20 }, () => write((trx) => takeNumbers(trx, 'test', 3))));
      assert.deepEqual(
        taken.sort((a, b) => a - b),
        Array.from({ length: 20 }, (_, n) => 1 + 3 * n),
      );
      assert.deepEqual([await newestNumber(db, 'test'), await newestNumber(db, 'none')], [60, 0]);
    });

    it('keeps each object in its newest state, by the numbers of its origin, and none under the id of another one', async () => {
      const origin = newId();
      const [first, second] = [envelope(origin), envelope(origin)];
      const put = (...objects: Numbered[]) => write((trx) => putSharedObjects(trx, origin, objects));
      for (const _again of [1, 2]) await put({ envelope: first, seq: 3 }, { envelope: second, seq: 5 });
      const gone = { ...envelope(origin, 2, first.id), body: null };
      await put({ envelope: gone, seq: 9 });
      const other = newId();
      await write((trx) => putSharedObjects(trx, other, [{ envelope: { ...envelope(other, 9), id: first.id }, seq: 1 }]));
      const expected = [
        { envelope: second, seq: 5 },
        { envelope: gone, seq: 9 },
      ];
      assert.deepEqual(await listSharedObjects(db, origin, { after: 0, limit: 10 }), expected);
      assert.deepEqual(await listSharedObjects(db, origin, { after: 5, limit: 10 }), expected.slice(1));
      assert.deepEqual(await listSharedObjects(db, other, { after: 0, limit: 10 }), []);
      assert.equal(await countShared(db, 'shared_objects', origin), 2);
      const signer = { ...registration('x', origin).signer, keyId: hashOf(origin) as Digest };
      for (const _again of [1, 2]) await putSharedSigners(db, [signer]);
      assert.deepEqual([await listSharedSigners(db, origin), await listSharedSigners(db, other)], [[signer], []]);
    });

    it('stores each event and the newest state of each thing once, and says which streams moved', async () => {
      const origin = newId();
      const event = (seq: number) => ({ seq, at: 5, actor: 'system', kind: 'x.y', subject: origin, data: { seq } });
      const state = (seq: number, body: string | null, subject: string = origin) => ({ kind: 'target', subject, seq, body });
      const tell = () =>
        write(async (trx) => {
          assert.equal(await lockStream(trx, origin, 'events'), 0);
          await putSharedEvents(trx, origin, [event(1), event(2)]);
          return moveStream(trx, { origin, stream: 'events', seq: 2 }, 0);
        });
      assert.equal(await tell(), true);
      await assert.rejects(tell(), { code: 'ERR_ASSERTION' });
      await write((trx) => putSharedEvents(trx, origin, [event(2), event(3)]));
      assert.deepEqual(await listSharedEvents(db, origin, { after: 1, limit: 10 }), [event(2), event(3)]);
      const seen = (await listMoved(db, 0, 1000)).at(-1);
      assert.deepEqual([seen?.origin, seen?.stream, seen?.seq], [origin, 'events', 2]);
      await write(async (trx) => {
        await putSharedStates(trx, origin, [state(4, 'new'), state(6, 'other', 'x')], 7);
        await putSharedWords(trx, origin, new Map([[origin, ['till', 'till', '52:54:00:00:00:01']]]));
        await moveStream(trx, { origin, stream: 'states', seq: (await lockStream(trx, origin, 'states')) + 6 }, 0);
      });
      assert.deepEqual(
        (await listMoved(db, seen?.mark ?? 0, 10)).map(({ stream, seq }) => [stream, seq]),
        [['states', 6]],
      );
      await write((trx) => putSharedStates(trx, origin, [state(8, null)], 8));
      assert.deepEqual(await listSharedStates(db, origin, { after: 0, limit: 10 }), [state(6, 'other', 'x'), state(8, null)]);
      for (const word of ['till', origin, '52:54:00:00:00:01']) assert.deepEqual(await findTargetOrigins(db, [word]), [origin]);
      await write((trx) => putSharedWords(trx, origin, new Map([[origin, ['desk']]])));
      assert.deepEqual([await findTargetOrigins(db, ['till']), await findTargetOrigins(db, ['desk'])], [[], [origin]]);
      assert.deepEqual([await getStream(db, origin, 'events'), await getStream(db, origin, 'objects')], [2, 0]);
      assert.deepEqual([await countShared(db, 'shared_events', origin), await countShared(db, 'shared_reports', origin)], [3, 2]);
    });

    it('moves many streams at once without giving a mark twice or leaving one out', async () => {
      const from = await newestNumber(db, 'streams');
      await Promise.all(
        Array.from({ length: 20 }, () =>
          write(async (trx) => {
            const origin = newId();
            const held = await lockStream(trx, origin, 'events');
            await moveStream(trx, { origin, stream: 'events', seq: 1 }, held);
          }),
        ),
      );
      assert.deepEqual(
        (await listMoved(db, from, 100)).map(({ mark }) => mark),
        Array.from({ length: 20 }, (_, n) => from + n + 1),
      );
    });

    it('keeps what one server sends another until that is done, and what is put twice once', async () => {
      const way = { sender: newId(), receiver: newId() };
      const command = (seq: number, after: number): SentCommand => ({
        ...{
          ...way,
          seq,
          after,
          id: newId(),
          dest: way.receiver,
          origin: way.sender,
          kind: 'k',
          body: { text: 'ü😀' },
          actor: 'operator:x',
        },
        ...{ createdAt: 1, keyId: digest, signature: 's' },
      });
      const [first, second, third] = [command(1, 0), command(2, 1), command(3, 2)];
      for (const _again of [1, 2]) await write((trx) => replaceSent(trx, way, [], [first, second]));
      assert.deepEqual(await listSentTo(db, way.receiver, 10), [first, second]);
      assert.deepEqual(await listSentTo(db, way.sender, 10), []);
      await write((trx) => noteDone(trx, way, 1));
      const moved = { ...second, after: 0 };
      await write((trx) => replaceSent(trx, way, [2], [moved, third]));
      assert.deepEqual(await listSentKeys(db, way), [
        { seq: 2, after: 0, id: second.id },
        { seq: 3, after: 2, id: third.id },
      ]);
      assert.deepEqual([...(await listDone(db, way.sender, [way.receiver, newId()]))], [[way.receiver, 1]]);
      await dropSent(db, way, 3);
      await write((trx) => noteDone(trx, way, 2));
      assert.deepEqual(
        [await listSentTo(db, way.receiver, 10), (await listDone(db, way.sender, [way.receiver])).get(way.receiver)],
        [[], 2],
      );
    });

    it('has one holder of a lease, and a higher number for each', async () => {
      const wish = { name: hashOf('lease').slice(0, 60), ttlMs: 60_000 };
      const races = await Promise.all(['a', 'b', 'c', 'd'].map((holder) => acquireSharedLease(db, { ...wish, holder })));
      const [lease, ...more] = races.filter((won) => won !== undefined);
      assert.deepEqual([lease?.fencing, more], [1, []]);
      assert.ok(lease !== undefined);
      assert.equal(await acquireSharedLease(db, { ...wish, holder: 'other' }), undefined);
      assert.equal(await renewSharedLease(db, lease, 1), true);
      const listed = (await listSharedLeases(db)).find((one) => one.name === wish.name);
      assert.ok(listed === undefined || (listed.leftMs <= 1 && listed.holder === lease.holder));
      await new Promise((resolve) => setTimeout(resolve, 20));
      const heir = await acquireSharedLease(db, { ...wish, holder: 'heir' });
      assert.equal(heir?.fencing, 2);
      assert.equal(await renewSharedLease(db, lease, 60_000), false);
      assert.equal(await write((trx) => holdSharedLease(trx, lease)), false);
      assert.ok(heir !== undefined && (await write((trx) => holdSharedLease(trx, heir))));
      assert.equal((await listSharedLeases(db)).find((one) => one.name === wish.name)?.holder, 'heir');
      await releaseSharedLease(db, heir);
      assert.equal((await acquireSharedLease(db, { ...wish, holder: 'third' }))?.fencing, 3);
    });
  });
}
