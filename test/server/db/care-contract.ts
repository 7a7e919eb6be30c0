import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Knex } from 'knex';
import { newId } from '../../../core/ids.ts';
import { getScrubs, openScrub, pruneScrubs, updateScrub } from '../../../server/db/scrubs.ts';
import { listStoreSamples, putStoreSample } from '../../../server/db/store-samples.ts';

const DAY = 86_400_000;

/** What the care of a store asks of every database; `it`s for the suite that has migrated one. */
export function careContract(database: () => Knex): void {
  it('goes on with the pass of a scrub where it stands, for one writer at a time', async () => {
    const db = database();
    const origin = newId();
    const begun = await openScrub(db, origin, 1000);
    assert.deepEqual(await openScrub(db, origin, 2000), begun);
    const position = { pack: newId(), offset: 2 ** 33 };
    const moved = await updateScrub(db, { ...begun, position, bytes: 2 ** 41, chunks: 7, damages: 1 });
    assert.deepEqual((await getScrubs(db, origin)).current, moved);
    assert.equal(await updateScrub(db, { ...begun, bytes: 5 }), undefined, 'by a writer that was overtaken');
    assert.ok(moved !== undefined);
    const ended = await updateScrub(db, { ...moved, position: null, endedAt: 3000 });
    const other = await openScrub(db, newId(), 1);
    assert.deepEqual(await getScrubs(db, origin), { current: null, last: ended });
    assert.notEqual((await openScrub(db, origin, 4000)).id, begun.id);
    for (let n = 0; n < 52; n++) {
      const pass = await openScrub(db, origin, 5000 + n);
      await updateScrub(db, { ...pass, endedAt: 5000 + n });
    }
    await pruneScrubs(db, origin);
    assert.equal((await db('scrubs').where({ origin })).length, 50);
    assert.equal((await db('scrubs').where({ id: other.id })).length, 1);
  });

  it('keeps one measurement of a store for each day and server, and no more than a quarter', async () => {
    const db = database();
    const origin = newId();
    const start = Date.UTC(2027, 0, 1);
    for (const [hour, usedBytes] of [
      [1, 5],
      [23, 2 ** 42],
    ] as const) {
      await putStoreSample(db, origin, { at: start + hour * 3_600_000, usedBytes });
    }
    await putStoreSample(db, newId(), { at: start, usedBytes: 1 });
    assert.deepEqual(await listStoreSamples(db, origin), [{ at: start + 23 * 3_600_000, usedBytes: 2 ** 42 }]);
    for (let day = 1; day <= 120; day++) await putStoreSample(db, origin, { at: start + day * DAY, usedBytes: day });
    const kept = await listStoreSamples(db, origin);
    assert.deepEqual([kept.length, kept[0]?.usedBytes, kept.at(-1)?.usedBytes], [100, 21, 120]);
  });
}
