import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBuildTurns } from '../../../server/replication/build-turns.ts';

test('so many different archives in an hour, then a refusal in words; the same one again counts once', () => {
  let now = 0;
  const turns = createBuildTurns(() => now);
  const build = (asker: string, key: string, what: 'archive' | 'chunks' = 'archive') => {
    const begins = turns.begin(asker, { key, what });
    turns.end(asker, key);
    return begins;
  };
  for (let n = 0; n < 100; n += 1) assert.ok(build('child', `key ${n}`));
  assert.throws(() => build('child', 'one more'), { code: 'busy', message: /child has asked for 100 different archives within an hour/ });
  assert.ok(build('child', 'key 7'), 'one that it asked for before');
  assert.ok(build('child', 'chunks', 'chunks'), 'repairs have a count of their own');
  assert.ok(build('another', 'one more'));
  now += 60 * 60_000;
  assert.ok(build('child', 'one more'));
});
