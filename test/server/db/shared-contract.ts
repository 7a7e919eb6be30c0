import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Knex } from 'knex';
import type { Envelope } from '../../../core/envelope.ts';
import { type Digest, type Id, type Name, newId } from '../../../core/ids.ts';
import { SHARED_MIGRATIONS } from '../../../migrations/shared/index.ts';
import { readDatabaseTime } from '../../../server/db/dialect-time.ts';
import { inTransaction, isUniqueViolation } from '../../../server/db/open.ts';
import { appendSharedCommand, countSharedCommands, dropSharedCommands, listSharedCommands } from '../../../server/db/shared/commands.ts';
import { newestNumber, takeNumbers } from '../../../server/db/shared/counters.ts';
import {
  acquireSharedLease,
  holdSharedLease,
  listSharedLeases,
  releaseSharedLease,
  renewSharedLease,
} from '../../../server/db/shared/leases.ts';
import { migrateShared, missingInShared } from '../../../server/db/shared/migrate.ts';
import { countSharedObjects, listSharedObjects, listSharedRevisions, putSharedObjects } from '../../../server/db/shared/objects.ts';
import {
  countShared,
  getSharedMark,
  listSharedEvents,
  listSharedReports,
  lockSharedMark,
  moveSharedMark,
  putSharedEvents,
  putSharedReports,
} from '../../../server/db/shared/reports.ts';
import {
  beat,
  findSharedServer,
  freeName,
  getSharedServer,
  insertSharedServer,
  listSharedServers,
  listSharedTree,
  type Registration,
  removeUnused,
  setEnrolment,
  setSharedState,
  updateRegistration,
  wishParent,
} from '../../../server/db/shared/servers.ts';
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
      assert.equal(await wishParent(db, branch.id, { parentId: hq?.id ?? null, by: 'operator', revision: 1 }), true);
      assert.equal(await wishParent(db, branch.id, { parentId: null, by: 'file', revision: 1 }), false);
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

    it('numbers changes in the order of their commits, without loss when many write at once', async () => {
      const taken = await Promise.all(Array.from({ length: 20 }, () => write((trx) => takeNumbers(trx, 'test', 3))));
      assert.deepEqual(
        taken.sort((a, b) => a - b),
        Array.from({ length: 20 }, (_, n) => 1 + 3 * n),
      );
      assert.deepEqual([await newestNumber(db, 'test'), await newestNumber(db, 'none')], [60, 0]);
    });

    it('takes objects once, in their newest revision, and gives them in the order of the telling', async () => {
      const origin = newId();
      const [first, second] = [envelope(origin), envelope(origin)];
      assert.equal(await write((trx) => putSharedObjects(trx, [first, second])), 2);
      assert.equal(await write((trx) => putSharedObjects(trx, [first, second])), 0);
      const gone = { ...envelope(origin, 2, first.id), body: null };
      assert.equal(await write((trx) => putSharedObjects(trx, [gone])), 1);
      assert.equal(await write((trx) => putSharedObjects(trx, [first])), 0, 'an older one');
      assert.equal(await write((trx) => putSharedObjects(trx, [{ ...envelope(newId(), 9, first.id) }])), 0, 'of another origin');
      const found = (await listSharedObjects(db, 0, 100)).filter((one) => one.envelope.origin === origin);
      assert.deepEqual(
        found.map((one) => one.envelope),
        [second, gone],
      );
      assert.deepEqual(await listSharedObjects(db, found[1]?.mark ?? 0, 100), []);
      assert.deepEqual([...(await listSharedRevisions(db, origin))].sort(), [[first.id, 2] as const, [second.id, 1] as const].sort());
      assert.equal(await countSharedObjects(db, origin), 2);
    });

    it('stores each event and the newest state of each thing once, by the marks of their server', async () => {
      const origin = newId();
      const event = (seq: number) => ({ origin, seq, at: 5, actor: 'system', kind: 'x.y', subject: origin, data: { seq } });
      const report = (seq: number, body: string | null) => ({ origin, kind: 'target', subject: origin, seq, body, at: 7 });
      const tell = () =>
        write(async (trx) => {
          assert.equal(await lockSharedMark(trx, origin, 'events'), 0);
          await putSharedEvents(trx, [event(1), event(2)]);
          return moveSharedMark(trx, { origin, stream: 'events', seq: 2 }, 0);
        });
      assert.equal(await tell(), true);
      await assert.rejects(tell(), { code: 'ERR_ASSERTION' });
      await write((trx) => putSharedEvents(trx, [event(2), event(3)]));
      await write((trx) => putSharedReports(trx, [report(4, 'new')]));
      await write((trx) => putSharedReports(trx, [report(3, 'old'), report(4, 'again')]));
      const events = await listSharedEvents(db, [origin, newId()], { after: 0, limit: 10 });
      assert.deepEqual(
        events.map(({ mark: _, ...rest }) => rest),
        [event(1), event(2), event(3)],
      );
      assert.deepEqual(await listSharedEvents(db, [origin], { after: events[2]?.mark ?? 0, limit: 10 }), []);
      const [state, ...others] = await listSharedReports(db, [origin], { after: 0, limit: 10 });
      assert.deepEqual([state?.body, state?.seq, others], ['new', 4, []]);
      await write((trx) => putSharedReports(trx, [report(5, null)]));
      const [gone] = await listSharedReports(db, [origin], { after: state?.mark ?? 0, limit: 10 });
      assert.deepEqual([gone?.body, gone?.seq], [null, 5]);
      assert.deepEqual([await getSharedMark(db, origin, 'events'), await getSharedMark(db, origin, 'states')], [2, 0]);
      assert.deepEqual([await countShared(db, 'shared_events', origin), await countShared(db, 'shared_reports', origin)], [3, 1]);
    });

    it('queues commands for each server, one number each however often they are given', async () => {
      const [dest, other, origin] = [newId(), newId(), newId()];
      const command = (to: Id, id = newId()) => ({ id, dest: to, origin, kind: 'k', body: { id }, actor: 'operator:x', createdAt: 1 });
      const [first, second] = [command(dest), command(dest)];
      assert.equal(await write((trx) => appendSharedCommand(trx, first)), 1);
      assert.equal(await write((trx) => appendSharedCommand(trx, second)), 2);
      assert.equal(await write((trx) => appendSharedCommand(trx, first)), 1);
      assert.equal(await write((trx) => appendSharedCommand(trx, command(other))), 1);
      assert.deepEqual(await listSharedCommands(db, dest, 1, 10), [{ ...second, seq: 2 }]);
      await dropSharedCommands(db, dest, 1);
      assert.deepEqual([(await countSharedCommands(db)).get(dest), (await countSharedCommands(db)).get(other)], [1, 1]);
      assert.equal(await write((trx) => appendSharedCommand(trx, command(dest))), 3);
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
