import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseName } from '../../core/ids.ts';
import type { ImageKind } from '../../core/image.ts';
import { isInScope, matchesPattern, type Scope } from '../../core/scope.ts';

const image = { kind: 'disk' as ImageKind, name: parseName('debian-12'), group: 'office', usedBytes: 1000 };

test('a pattern stands for the whole name, each star for any characters', () => {
  for (const [pattern, name, fits] of [
    ['debian', 'debian', true],
    ['debian', 'debian-12', false],
    ['debian*', 'debian', true],
    ['*', 'anything', true],
    ['*-12', 'debian-12', true],
    ['d*n-*2', 'debian-12', true],
    ['de*ian*an*', 'debian-12', false],
    ['ab*ba', 'aba', false],
    ['a*b*c', 'a-c', false],
    ['a.c', 'abc', false],
  ] as const)
    assert.equal(matchesPattern(pattern, name), fits, `${pattern} and ${name}`);
});

test('a pattern of many stars against a long name costs no time that anybody could notice', () => {
  const startedMs = performance.now();
  assert.equal(matchesPattern(`${'*a'.repeat(31)}b`, 'a'.repeat(63)), false);
  assert.ok(performance.now() - startedMs < 100);
});

test('every member of a scope narrows it, an absent one does not', () => {
  const cases: [Scope, boolean][] = [
    [{}, true],
    [{ kinds: ['tree', 'engine'] }, false],
    [{ kinds: ['disk'], names: ['windows*', 'deb*'], groups: ['office'], maxSizeBytes: 1000 }, true],
    [{ names: ['windows*'] }, false],
    [{ names: [] }, false],
    [{ groups: ['lab'] }, false],
    [{ maxSizeBytes: 999 }, false],
  ];
  for (const [scope, isIn] of cases) assert.equal(isInScope(scope, image), isIn, JSON.stringify(scope));
});

test('an image without a group is in no group', () => {
  const { group: _, ...bare } = image;
  assert.equal(isInScope({ groups: ['office'] }, bare), false);
  assert.equal(isInScope({ names: ['debian-12'] }, bare), true);
});
