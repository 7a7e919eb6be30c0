import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openAhead } from '../helpers/open-ahead.ts';

/** Things that say what becomes of them, and are open when they are told to. */
function things(count: number) {
  const said: string[] = [];
  const doors = Array.from({ length: count }, () => Promise.withResolvers<void>());
  const all = doors.map(({ promise }, place) => async () => {
    said.push(`opening ${place}`);
    await promise;
    return { place, close: async () => void said.push(`closed ${place}`) };
  });
  return { said, doors, ahead: openAhead(all) };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

test('the next thing opens when the one before is open, and nobody waits for it who does not take it', async () => {
  const { said, doors, ahead } = things(3);
  const first = ahead.take(0);
  await turn();
  assert.deepEqual(said, ['opening 0']);
  doors[0]?.resolve();
  assert.equal((await first).place, 0);
  await turn();
  assert.deepEqual(said, ['opening 0', 'opening 1']);
  doors[1]?.resolve();
  assert.equal((await ahead.take(1)).place, 1);
  await turn();
  assert.deepEqual(said, ['opening 0', 'opening 1', 'opening 2']);
  doors[2]?.resolve();
  await ahead.close();
  assert.equal(said.at(-1), 'closed 2', 'what was not taken is closed');
});

test('one that cannot be opened is told to who takes it, and the next one opens all the same', async () => {
  const { said, doors, ahead } = things(3);
  doors[1]?.reject(new Error('no'));
  doors[0]?.resolve();
  doors[2]?.resolve();
  await ahead.take(0);
  await assert.rejects(ahead.take(1), /no/);
  assert.equal((await ahead.take(2)).place, 2);
  await ahead.close();
  assert.deepEqual(said, ['opening 0', 'opening 1', 'opening 2']);
  await assert.rejects(ahead.take(3), /nothing at place 3/);
});
