import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextVersion, parseImageReference, parseVersion } from '../../../server/images/reference.ts';

test('versions count on from the highest whole number and ignore free text', () => {
  assert.equal(nextVersion([]), '1');
  assert.equal(nextVersion(['1', '2', '10']), '11');
  assert.equal(nextVersion(['2026-11', 'gold', '3', '007']), '4');
  assert.equal(nextVersion(['99999999999999999999']), '1');
});

test('a reference is a name and perhaps a version', () => {
  assert.deepEqual(parseImageReference('debian-12'), { name: 'debian-12' });
  assert.deepEqual(parseImageReference('debian-12@2026.11+b1'), { name: 'debian-12', version: '2026.11+b1' });
});

test('what is no reference is refused as usage', () => {
  for (const text of ['', '@1', 'Debian', 'a@', 'a@b@c', 'a@../b', `a@${'1'.repeat(64)}`, 'a b', `${'a'.repeat(64)}`, 'a@\u001b[31m']) {
    assert.throws(() => parseImageReference(text), { code: 'usage' }, text);
  }
  assert.throws(() => parseVersion('-1'), { code: 'usage' });
});
