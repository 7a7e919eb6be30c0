import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openCreditGate } from '../../../sync/tunnel/credit-gate.ts';

/** What a promise has come to by now. */
async function now(taking: Promise<number>): Promise<number | 'waits'> {
  await new Promise((resolve) => setImmediate(resolve));
  return Promise.race([taking, Promise.resolve('waits' as const)]);
}

test('a sender waits until it may send more than a crumb: crumbs would come back as credit for crumbs', async () => {
  const gate = openCreditGate(100_000);
  assert.equal(await gate.take(99_900), 99_900);
  const taking = gate.take(50_000);
  assert.equal(await now(taking), 'waits');
  gate.grant(3_000);
  assert.equal(await now(taking), 'waits');
  gate.grant(30_000);
  assert.equal(await taking, 33_100);
});

test('who wants little, or more than there ever is, gets it', async () => {
  const gate = openCreditGate(1000, 10);
  assert.equal(await gate.take(7), 7);
  const taking = gate.take(5000);
  assert.equal(await now(taking), 'waits');
  gate.grant(997);
  assert.equal(await taking, 1000);
});

test('a gate that closes lets nobody wait, and takes no more than was sent', async () => {
  const gate = openCreditGate(100);
  assert.equal(await gate.take(60), 60);
  const taking = gate.take(50);
  gate.close();
  assert.equal(await taking, 0);
  assert.throws(() => gate.grant(61), { code: 'bad_packet' });
});
