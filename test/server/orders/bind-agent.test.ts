import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '../../../core/ids.ts';
import { type BindingFacts, decideBinding } from '../../../server/orders/bind-agent.ts';

const NOW = 1_700_000_000_000;
const KEY = `sha256:${'11'.repeat(32)}` as never;
const OTHER = `sha256:${'22'.repeat(32)}` as never;
const firstBoot = { id: newId(NOW - 600_000), createdAt: NOW - 600_000 };
const newBoot = { id: newId(NOW - 5000), createdAt: NOW - 5000 };
const bound = {
  targetId: newId(NOW),
  keyId: OTHER,
  bootId: firstBoot.id,
  state: 'bound' as const,
  orderId: null,
  boundAt: NOW - 590_000,
  seenAt: NOW - 1000,
  refusedKeyId: null,
  refusedAt: null,
};
const facts: BindingFacts = { keyId: KEY, boot: newBoot, binding: undefined, hasActiveOrder: true, policy: 'auto', now: NOW };

test('the first key of a target is bound, or waits under the policy operator', () => {
  assert.equal(decideBinding(facts).kind, 'bind');
  assert.equal(decideBinding({ ...facts, policy: 'operator' }).kind, 'wait');
});

test('the bound key is the same after any number of hellos', () => {
  assert.equal(decideBinding({ ...facts, binding: { ...bound, keyId: KEY } }).kind, 'same');
  assert.equal(decideBinding({ ...facts, binding: { ...bound, keyId: KEY, state: 'waiting' } }).kind, 'wait');
});

test('a second key is refused while the first is heard of, newer boot script or not', () => {
  assert.equal(decideBinding({ ...facts, binding: bound }).kind, 'refuse');
  assert.equal(decideBinding({ ...facts, binding: bound, hasActiveOrder: false }).kind, 'refuse');
});

test('a second key with the same boot script is refused however long the first is silent', () => {
  assert.equal(decideBinding({ ...facts, boot: firstBoot, binding: { ...bound, seenAt: NOW - 3_600_000 } }).kind, 'refuse');
});

test('a machine that lost power comes back with a new boot script after its old key fell silent', () => {
  assert.equal(decideBinding({ ...facts, binding: { ...bound, seenAt: NOW - 59_000 } }).kind, 'refuse');
  assert.equal(decideBinding({ ...facts, binding: { ...bound, seenAt: NOW - 60_000 } }).kind, 'bind');
  assert.equal(decideBinding({ ...facts, binding: { ...bound, seenAt: NOW - 31_000 }, hasActiveOrder: false }).kind, 'bind');
});

test('an old boot id introduces nobody', () => {
  const boot = { id: newId(NOW), createdAt: NOW - 25 * 3_600_000 };
  assert.equal(decideBinding({ ...facts, boot }).kind, 'refuse');
});
