import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Knex } from 'knex';
import { type Id, newId } from '../../../core/ids.ts';
import { MIGRATIONS } from '../../../migrations/index.ts';
import { appendEvent, listEvents } from '../../../server/db/events.ts';
import { acquireLease, isHeld, releaseLease, renewLease } from '../../../server/db/leases.ts';
import { migrateDatabase, readSchemaState, requireCurrentSchema } from '../../../server/db/migrate.ts';
import { inTransaction, isUniqueViolation } from '../../../server/db/open.ts';
import { createOperatorToken, findOperatorToken, listOperatorTokens, revokeOperatorToken } from '../../../server/db/operator-tokens.ts';
import { getSetting, setSetting } from '../../../server/db/settings.ts';
import { hashOf } from '../../helpers/digests.ts';
import { careContract } from './care-contract.ts';
import { controlContract } from './control-contract.ts';
import { holdingsContract } from './holdings-contract.ts';
import { replicationContract } from './replication-contract.ts';

/** What every database must do alike. `connect` gives an empty database; the suite closes it. */
export function databaseContract(name: string, connect: () => Promise<Knex>): void {
  describe(`database contract on ${name}`, () => {
    let db: Knex;
    before(async () => {
      db = await connect();
    });
    after(() => db.destroy());

    it('refuses an empty database and says to migrate', async () => {
      await assert.rejects(requireCurrentSchema(db), { code: 'config', hint: 'run waystation migrate' });
    });

    it('migrates once and then has nothing to do', async () => {
      const all = MIGRATIONS.map((migration) => migration.name);
      assert.deepEqual(await migrateDatabase(db), all);
      assert.deepEqual(await migrateDatabase(db), []);
      assert.deepEqual(await readSchemaState(db), { done: all, missing: [], unknown: [] });
    });

    it('refuses the schema of a newer release in words', async () => {
      await db('knex_migrations').insert({ name: '9999-later', batch: 2, migration_time: new Date(86_400_000) });
      await assert.rejects(requireCurrentSchema(db), { code: 'version_mismatch', message: /9999-later/ });
      await assert.rejects(migrateDatabase(db), { code: 'version_mismatch' });
      await db('knex_migrations').where({ name: '9999-later' }).del();
    });

    it('keeps bigints, booleans, long text and every character of Unicode', async () => {
      const text = `${'ü€😀'.repeat(30_000)} \u0000'"\\`;
      const id = newId();
      await db('objects').insert({
        ...{ id, kind: 'document', origin: id, revision: 1, body: text, digest: 'd', key_id: 'k', signature: 's' },
        ...{ generation: Number.MAX_SAFE_INTEGER, deleted: true },
      });
      const row = await db('objects').where({ id }).first();
      assert.equal(row.body, text);
      assert.equal(row.generation, Number.MAX_SAFE_INTEGER);
      assert.equal(Boolean(row.deleted), true);
      assert.equal(Object.getPrototypeOf({ ...row }), Object.prototype);
    });

    it('takes undefined as null and fills in defaults', async () => {
      const id = newId();
      await db('targets').insert({ id, name: undefined, discovered_by: 'boot', created_at: 1, origin: id, revision: 1 });
      const row = await db('targets').where({ id }).first();
      assert.equal(row.name, null);
      assert.equal(row.environment, 'unknown');
    });

    it('compares names octet by octet', async () => {
      await setSetting(db, 'case', 'lower');
      assert.equal(await getSetting(db, 'CASE'), undefined);
      await setSetting(db, 'CASE', 'upper');
      await setSetting(db, 'case', 'changed');
      assert.deepEqual([await getSetting(db, 'case'), await getSetting(db, 'CASE')], ['changed', 'upper']);
    });

    it('counts the rows an update matched, also when nothing changed in them', async () => {
      await setSetting(db, 'same', 'x');
      assert.equal(await db('settings').where({ key: 'same' }).update({ value: 'x' }), 1);
      assert.equal(await db('settings').where({ key: 'absent' }).update({ value: 'x' }), 0);
      assert.equal(await db('settings').where({ key: 'same' }).del(), 1);
    });

    it('recognises a row that is already there', async () => {
      await db('settings').insert({ key: 'twice', value: '1' });
      await assert.rejects(async () => db('settings').insert({ key: 'twice', value: '2' }), isUniqueViolation);
      const id = newId();
      await createOperatorToken(db, { id, name: 'a', hash: hashOf('a'), role: 'viewer', createdAt: 1, expiresAt: null });
      const again = createOperatorToken(db, { id: newId(), name: 'b', hash: hashOf('a'), role: 'viewer', createdAt: 1, expiresAt: null });
      await assert.rejects(again, isUniqueViolation);
    });

    it('undoes a failed transaction as a whole', async () => {
      const failed = inTransaction(db, async (trx) => {
        await setSetting(trx, 'undone', 'x');
        throw new Error('on purpose');
      });
      await assert.rejects(failed, /on purpose/);
      assert.equal(await getSetting(db, 'undone'), undefined);
    });

    it('numbers the events of an origin without a gap while many append at once', async () => {
      const origin = await createServer(db);
      const append = (n: number) =>
        inTransaction(db, (trx) =>
          appendEvent(trx, { origin, at: 5, actor: 'system', kind: 'test.happened', subject: `s${n % 2}`, data: { n } }),
        );
      await append(-1);
      const numbers = await Promise.all(Array.from({ length: 20 }, (_, n) => append(n)));
      assert.deepEqual(
        [...numbers].sort((a, b) => a - b),
        Array.from({ length: 20 }, (_, n) => n + 2),
      );
      const events = await listEvents(db, { origin });
      assert.deepEqual(
        events.map((event) => event.seq),
        Array.from({ length: 21 }, (_, n) => n + 1),
      );
      assert.equal((await listEvents(db, { origin, subject: 's0', since: 1, limit: 3 })).length, 3);
      assert.deepEqual(events[0], { origin, seq: 1, at: 5, actor: 'system', kind: 'test.happened', subject: 's-1', data: { n: -1 } });
    });

    it('numbers events of writers that have no transaction of their own', async () => {
      const origin = await createServer(db);
      const append = () => appendEvent(db, { origin, at: 5, actor: 'system', kind: 'test.happened', subject: 's' });
      const within = () =>
        inTransaction(db, (trx) => appendEvent(trx, { origin, at: 5, actor: 'system', kind: 'test.happened', subject: 's' }));
      const numbers = await Promise.all(Array.from({ length: 20 }, (_, n) => (n % 2 === 0 ? append() : within())));
      assert.deepEqual(
        [...numbers].sort((a, b) => a - b),
        Array.from({ length: 20 }, (_, n) => n + 1),
      );
    });

    it('starts the numbers of an origin at 1 when the first two writers meet', async () => {
      const origin = await createServer(db);
      const append = () =>
        inTransaction(db, (trx) => appendEvent(trx, { origin, at: 5, actor: 'system', kind: 'test.happened', subject: 's' }));
      assert.deepEqual((await Promise.all([append(), append()])).sort(), [1, 2]);
    });

    it('gives a lease to one of many and raises the fencing number with every holder', async () => {
      const wish = (holder: string, now: number) => acquireLease(db, { name: 'schedule', holder, ttlMs: 100, now });
      const wins = (await Promise.all(['a', 'b', 'c', 'd'].map((holder) => wish(holder, 1000)))).filter((lease) => lease !== undefined);
      assert.equal(wins.length, 1);
      const [first] = wins;
      assert.ok(first);
      assert.equal(first.fencing, 1);
      assert.equal(await wish('late', 1099), undefined);
      assert.equal(await renewLease(db, first, { ttlMs: 100, now: 1050 }), true);
      assert.equal(await wish('late', 1120), undefined);
      const second = await wish('late', 1151);
      assert.equal(second?.fencing, 2);
      assert.equal(await renewLease(db, first, { ttlMs: 100, now: 1160 }), false);
      assert.equal(await isHeld(db, first), false);
      await releaseLease(db, first);
      assert.equal(await wish('other', 1170), undefined);
      await releaseLease(db, second as NonNullable<typeof second>);
      assert.equal((await wish('other', 1171))?.fencing, 3);
    });

    it('finds an operator token by its hash until and after it is revoked', async () => {
      const token = { id: newId(), name: 'first', hash: hashOf('secret'), role: 'administrator', createdAt: 7, expiresAt: 9 } as const;
      await createOperatorToken(db, token);
      assert.deepEqual(await findOperatorToken(db, token.hash), { ...token, revokedAt: null, lastUsedAt: null });
      assert.equal(await findOperatorToken(db, hashOf('other')), undefined);
      assert.equal(await revokeOperatorToken(db, token.id, 8), true);
      assert.equal(await revokeOperatorToken(db, token.id, 9), false);
      assert.equal((await findOperatorToken(db, token.hash))?.revokedAt, 8);
      assert.ok((await listOperatorTokens(db)).some(({ id }) => id === token.id));
    });

    controlContract(() => db);
    replicationContract(() => db);
    careContract(() => db);
    holdingsContract(() => db);
  });
}

async function createServer(db: Knex): Promise<Id> {
  const id = newId();
  await db('servers').insert({ id, name: `s-${id}`, relation: 'self', state: 'active', created_at: 1, origin: id, revision: 1 });
  return id;
}
