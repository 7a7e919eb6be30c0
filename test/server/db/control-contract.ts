import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Knex } from 'knex';
import type { Json } from '../../../core/canonical-json.ts';
import { type Id, newId } from '../../../core/ids.ts';
import {
  appendCommand,
  dropCommands,
  getControlMark,
  listCommands,
  lockControlMark,
  moveControlMark,
  renumberCommands,
} from '../../../server/db/control-queue.ts';
import { insertEvents, newestEvent } from '../../../server/db/events.ts';
import { inTransaction } from '../../../server/db/open.ts';
import { getOrigin, putOrigin } from '../../../server/db/origins.ts';
import { listChanges, markChanged, newestChange } from '../../../server/db/outbox.ts';
import {
  countReported,
  findReportedServers,
  findReportedTargets,
  listReported,
  listReportedAfter,
  lockMark,
  moveMark,
  putReported,
  replaceWords,
} from '../../../server/db/reported.ts';

/** What control and reports ask of every database; `it`s for the suite that has migrated one. */
export function controlContract(database: () => Knex): void {
  it('numbers changes over all things in the order of their commits, each thing once', async () => {
    const db = database();
    const [a, b] = [newId(), newId()];
    const before = await newestChange(db);
    await Promise.all([a, b, a, b, a].map((subject) => markChanged(db, 'target', subject)));
    const undone = inTransaction(db, async (trx) => {
      await markChanged(trx, 'order', a);
      throw new Error('on purpose');
    });
    await assert.rejects(undone, /on purpose/);
    await markChanged(db, 'target', b);
    const changes = await listChanges(db, before, 10);
    assert.deepEqual(
      changes.map(({ subject }) => subject),
      [a, b],
    );
    assert.equal(changes.at(-1)?.seq, before + 6);
    assert.equal(await newestChange(db), before + 6);
    assert.deepEqual(await listChanges(db, before + 5, 10), [{ kind: 'target', subject: b, seq: before + 6 }]);
  });

  it('moves a mark only from where it stands', async () => {
    const db = database();
    const origin = newId();
    const move = (from: number, to: number) =>
      inTransaction(db, async (trx) => {
        assert.equal(await lockMark(trx, origin, 'events'), (await trx('report_marks').where({ origin }).first('seq')).seq);
        return moveMark(trx, { origin, stream: 'events', seq: to }, from);
      });
    assert.deepEqual([await move(0, 5), await move(0, 7), await move(5, 9)], [true, false, true]);
    await insertEvents(db, [{ origin, seq: 9, at: 1, actor: 'a', kind: 'k', subject: 's', data: {} }]);
    assert.equal(await newestEvent(db, origin), 9);
  });

  it('keeps the newest state of a reported thing, finds it by its words and passes on what is gone', async () => {
    const db = database();
    const [origin, subject] = [newId(), newId()];
    const put = (seq: number, body: null | { name: string }) =>
      inTransaction(db, (trx) => putReported(trx, { origin, kind: 'target', subject, seq, body, at: 1 }));
    await put(3, { name: 'old' });
    await put(4, { name: 'new' });
    for (const words of [
      ['till', '52:54:00:00:00:01'],
      ['desk', 'desk'],
    ])
      await inTransaction(db, (trx) => replaceWords(trx, origin, subject, words));
    assert.deepEqual(
      (await findReportedTargets(db, 'desk')).map(({ body }) => body),
      [{ name: 'new' }],
    );
    assert.deepEqual(await findReportedTargets(db, 'till'), []);
    // A server that calls itself as a target is called.
    const [one, other] = [newId(), newId()].sort() as [Id, Id];
    for (const id of [other, one]) {
      await inTransaction(db, (trx) =>
        putReported(trx, { origin: id, kind: 'server', subject: id, seq: 1, body: { name: 'desk' }, at: 1 }),
      );
      await inTransaction(db, (trx) => replaceWords(trx, id, id, ['desk']));
    }
    assert.deepEqual(await findReportedServers(db, 'desk'), [one, other]);
    assert.deepEqual(await findReportedServers(db, other), [other]);
    assert.deepEqual(await findReportedServers(db, origin), []);
    assert.equal((await findReportedTargets(db, 'desk')).length, 1);
    assert.equal((await listReported(db, 'target', { limit: 10 })).filter((row) => row.origin === origin).length, 1);
    await put(5, null);
    assert.equal((await listReported(db, 'target', { limit: 10 })).filter((row) => row.origin === origin).length, 0);
    assert.deepEqual(
      (await listReportedAfter(db, origin, 4, 10)).map(({ seq, body }) => [seq, body]),
      [[5, null]],
    );
    assert.equal(await countReported(db, origin), 1);
    await putOrigin(db, { id: origin, via: subject, seenAt: 1 });
    await putOrigin(db, { id: origin, via: origin, seenAt: 2 });
    assert.deepEqual(await getOrigin(db, origin), { id: origin, via: origin, seenAt: 2 });
  });

  it('knows the orders of one target among those that were told', async () => {
    const db = database();
    const [origin, targetId, older, newer, other] = [newId(1), newId(2), newId(3), newId(4), newId(5)];
    const put = (subject: Id, seq: number, body: Json) => putReported(db, { origin, kind: 'order', subject, seq, body, at: 1 });
    assert.equal(await put(older, 1, { targetId }), true);
    await put(newer, 2, { targetId });
    await put(other, 3, { targetId: 'a'.repeat(65) });
    assert.equal(await put(newer, 4, { targetId, state: 'current' }), false);
    const found = async () => (await listReported(db, 'order', { newestFirst: true, targetId, limit: 10 })).map(({ subject }) => subject);
    assert.deepEqual(await found(), [newer, older]);
    await put(older, 5, null);
    assert.deepEqual(await found(), [newer]);
  });

  it('gives the commands of a child numbers without gaps, also when many are made at once, and new ones after a set-back', async () => {
    const db = database();
    const childId = newId();
    const rest = { dest: childId, origin: newId(), kind: 'k', body: { a: 1 }, actor: 'a', createdAt: 1 };
    const made = await Promise.all([1, 2, 3].map(() => inTransaction(db, (trx) => appendCommand(trx, childId, { id: newId(), ...rest }))));
    assert.deepEqual(made.sort(), [1, 2, 3]);
    await dropCommands(db, childId, 1);
    const before = await listCommands(db, childId, 0, 10);
    assert.deepEqual(
      before.map(({ seq }) => seq),
      [2, 3],
    );
    await inTransaction(db, (trx) => renumberCommands(trx, childId, 7));
    assert.deepEqual(
      await listCommands(db, childId, 0, 10),
      before.map((command) => ({ ...command, seq: command.seq + 6 })),
    );
    assert.equal(await getControlMark(db, childId, 'down'), 9);
    const moves = await inTransaction(db, async (trx) => {
      const done = await lockControlMark(trx, childId, 'applied');
      return [
        await moveControlMark(trx, childId, 'applied', { from: done, to: 2 }),
        await moveControlMark(trx, childId, 'applied', { from: done, to: 3 }),
      ];
    });
    assert.deepEqual(moves, [true, false]);
  });
}
