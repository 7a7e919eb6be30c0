import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Mac } from '../../../core/ids.ts';
import type { PxeClient } from '../../../server/dhcp/client.ts';
import { sightingQueue } from '../../../server/dhcp/sightings.ts';

const client: PxeClient = { message: 'discover', arch: 'amd64', firmware: 'bios', isIpxe: false, uuid: undefined };
const macOf = (number: number) =>
  `52:54:00:00:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 255).toString(16).padStart(2, '0')}` as Mac;

test('a machine that asks again and again is written down once in 30 seconds', async () => {
  const written: number[] = [];
  const queue = sightingQueue(async ({ at }) => void written.push(at), assert.ifError);
  for (const at of [0, 1_000, 4_000, 29_999, 30_000, 31_000]) queue.note({ mac: macOf(1), client, at });
  await queue.settled();
  assert.deepEqual(written, [0, 30_000]);
});

test('a flood of forged addresses writes a hundred machines and then five a second', async () => {
  let written = 0;
  const queue = sightingQueue(async () => {
    written += 1;
  }, assert.ifError);
  for (let number = 0; number < 10_000; number += 1) queue.note({ mac: macOf(number), client, at: 0 });
  await queue.settled();
  assert.equal(written, 100);
  for (let number = 20_000; number < 30_000; number += 1) queue.note({ mac: macOf(number), client, at: 2_000 });
  await queue.settled();
  assert.equal(written, 110);
});

test('a failure is told and the next machine is still written down', async () => {
  const errors: unknown[] = [];
  const written: Mac[] = [];
  const queue = sightingQueue(
    async ({ mac }) => {
      if (mac === macOf(1)) throw new Error('the database is away');
      written.push(mac);
    },
    (error) => errors.push(error),
  );
  queue.note({ mac: macOf(1), client, at: 0 });
  queue.note({ mac: macOf(2), client, at: 0 });
  await queue.settled();
  assert.equal(errors.length, 1);
  assert.deepEqual(written, [macOf(2)]);
});
