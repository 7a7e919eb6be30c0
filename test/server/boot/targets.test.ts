import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import type { Mac, Name } from '../../../core/ids.ts';
import { insertOrder } from '../../../server/db/orders.ts';
import { knownIdentity, swappedUuid, usableSerial, usableUuid } from '../../../server/targets/identity.ts';
import { addTarget, getTarget, listTargets, noteTarget, removeTarget, seeTarget } from '../../../server/targets.ts';
import { type BootSite, openBootSite } from '../../helpers/boot-site.ts';

const UUID = '4c4c4544-0042-3510-8052-b2c04f4e3132';
const macs = (...list: string[]) => list.map((mac) => `52:54:00:00:00:${mac}` as Mac);
let opened: BootSite;
beforeEach(async () => {
  opened = await openBootSite();
});
afterEach(() => opened.close());
const see = (said: { uuid?: string; serial?: string; macs?: Mac[] }, discoveredBy: 'dhcp' | 'boot' | 'agent' = 'boot') =>
  seeTarget(opened.site, { macs: [], ...said, discoveredBy });
const count = async () => (await listTargets(opened.site)).items.length;

test('a machine heard by DHCP and then by its boot script is one target, which learns its UUID', async () => {
  const first = await see({ macs: macs('01') }, 'dhcp');
  const second = await see({ uuid: UUID, serial: 'S-1', macs: macs('01') });
  assert.equal(second.id, first.id);
  assert.deepEqual([second.uuid, second.serial, second.discoveredBy], [UUID, 'S-1', 'dhcp']);
  assert.equal(await count(), 1);
});

test('the UUID counts before the MAC address: a card in another machine moves to it', async () => {
  const old = await see({ uuid: UUID, macs: macs('01', '02') });
  const other = await see({ uuid: UUID.replace('4c', '5c'), macs: macs('02') });
  assert.notEqual(other.id, old.id);
  assert.deepEqual(other.macs, macs('02'));
  assert.deepEqual((await getTarget(opened.site, old.id)).macs, macs('01'));
});

test('the serial number counts before the MAC address', async () => {
  const first = await see({ serial: 'S-1', macs: macs('01') });
  const again = await see({ serial: 'S-1', macs: macs('09') });
  assert.equal(again.id, first.id);
  assert.deepEqual(again.macs, macs('01', '09'));
});

test('a new card that DHCP saw first belongs to the machine that shows it, and the stray target is gone', async () => {
  const machine = await see({ uuid: UUID, macs: macs('01') });
  await see({ macs: macs('02') }, 'dhcp');
  assert.equal(await count(), 2);
  const seen = await see({ uuid: UUID, macs: macs('02') });
  assert.equal(seen.id, machine.id);
  assert.equal(await count(), 1);
});

test('a stray target that was named is kept', async () => {
  await see({ uuid: UUID, macs: macs('01') });
  await addTarget(opened.site, { name: 'web-2' as Name, macs: macs('02') }, 'operator:x');
  await see({ uuid: UUID, macs: macs('02') });
  assert.equal((await getTarget(opened.site, 'web-2')).macs.length, 0);
});

test('an old firmware may tell the UUID in the other byte order', async () => {
  const first = await see({ uuid: UUID, macs: macs('01') });
  assert.equal((await see({ uuid: swappedUuid(UUID), macs: macs('01') })).id, first.id);
  assert.equal(swappedUuid(swappedUuid(UUID)), UUID);
});

test('what makers leave in unset fields identifies nobody', () => {
  for (const uuid of [
    '',
    'x',
    '00000000-0000-0000-0000-000000000000',
    'ffffffff-ffff-ffff-ffff-ffffffffffff',
    '03000200-0400-0500-0006-000700080009',
  ]) {
    assert.equal(usableUuid(uuid), null, uuid);
  }
  for (const serial of ['', '  ', 'None', 'Default string', 'To Be Filled By O.E.M.', '0', 'Not Specified', 'System Serial Number']) {
    assert.equal(usableSerial(serial), null, serial);
  }
  assert.equal(usableSerial('  CN7016\u0007<b>  '), 'CN7016?<b>');
  assert.deepEqual(knownIdentity({ macs: ['ff:ff:ff:ff:ff:ff', '00:00:00:00:00:00', '01:00:5e:00:00:01'] as Mac[] }).macs, []);
});

test('two machines with the same filler are two targets', async () => {
  const zero = '00000000-0000-0000-0000-000000000000';
  const first = await see({ uuid: zero, serial: 'None', macs: macs('01') });
  const second = await see({ uuid: zero, serial: 'None', macs: macs('02') });
  assert.notEqual(first.id, second.id);
});

test('a machine that says nothing usable is refused', async () => {
  await assert.rejects(see({ uuid: 'none', macs: ['00:00:00:00:00:00' as Mac] }), { code: 'bad_data' });
});

test('packets of one machine at the same moment make one target', async () => {
  const seen = await Promise.all(Array.from({ length: 12 }, () => see({ uuid: UUID, macs: macs('01', '02') })));
  assert.equal(new Set(seen.map(({ id }) => id)).size, 1);
  assert.equal(await count(), 1);
});

test('a sighting that is older than the last one does not say where the machine is', async () => {
  const { id } = await seeTarget(opened.site, {
    macs: macs('01'),
    environment: 'engine',
    activity: 'waiting',
    discoveredBy: 'boot',
    at: 2_000,
  });
  await seeTarget(opened.site, { macs: macs('01'), environment: 'firmware', activity: 'asking', discoveredBy: 'dhcp', at: 1_000 });
  const target = await getTarget(opened.site, id);
  assert.deepEqual([target.environment, target.activity, target.seenAt], ['engine', 'waiting', 2_000]);
});

test('a target is found by id, name, UUID and MAC address in any spelling', async () => {
  const target = await addTarget(opened.site, { name: 'web-1' as Name, uuid: UUID.toUpperCase(), macs: macs('0a') }, 'operator:x');
  for (const reference of [target.id, 'web-1', UUID, UUID.toUpperCase(), '52:54:00:00:00:0a', '52-54-00-00-00-0A', '52540000000a']) {
    assert.equal((await getTarget(opened.site, reference)).id, target.id, reference);
  }
  await assert.rejects(getTarget(opened.site, 'web-2'), { code: 'not_found' });
  await assert.rejects(getTarget(opened.site, "x' or 1=1 --\n"), { code: 'not_found' });
});

test('a name that reads like the address of another target is ambiguous', async () => {
  await addTarget(opened.site, { name: '52540000000a' as Name, macs: macs('0b') }, 'operator:x');
  await see({ macs: macs('0a') });
  await assert.rejects(getTarget(opened.site, '52540000000a'), { code: 'ambiguous' });
});

test('a name belongs to one target, and a target keeps its name', async () => {
  await addTarget(opened.site, { name: 'web-1' as Name, macs: macs('01') }, 'operator:x');
  await assert.rejects(addTarget(opened.site, { name: 'web-1' as Name, macs: macs('02') }, 'operator:x'), { code: 'name_taken' });
  await assert.rejects(addTarget(opened.site, { name: 'web-9' as Name, macs: macs('01') }, 'operator:x'), { code: 'name_taken' });
  await assert.rejects(addTarget(opened.site, { name: 'web-9' as Name, macs: [] }, 'operator:x'), { code: 'bad_data' });
  assert.equal(await count(), 1, 'what was refused left nothing behind');
});

test('a target with an order that has not ended is not forgotten, and afterwards it is', async () => {
  const target = await addTarget(opened.site, { name: 'web-1' as Name, macs: macs('01') }, 'operator:x');
  const order = { id: target.id, jobId: target.id, imageId: target.id, imageReference: 'a@1', manifest: 'm' as never, nonce: 'n' };
  await insertOrder(opened.site.db, { ...order, targetId: target.id, origin: opened.site.self.id, now: 1 });
  await assert.rejects(removeTarget(opened.site, target, 'operator:x'), { code: 'wrong_state' });
  await opened.site.db('active_orders').delete();
  await removeTarget(opened.site, target, 'operator:x');
  await assert.rejects(getTarget(opened.site, target.id), { code: 'not_found' });
  const kinds = await opened.site.db('events').orderBy('seq').pluck('kind');
  assert.deepEqual(kinds, ['target.discovered', 'target.added', 'target.deleted']);
});

test('notes of several writers at once all get in', async () => {
  const { id } = await see({ macs: macs('01') });
  await Promise.all([
    noteTarget(opened.site, id, { environment: 'engine' }),
    noteTarget(opened.site, id, { activity: 'x'.repeat(100) }),
    noteTarget(opened.site, id, { arch: 'amd64' }),
  ]);
  const target = await getTarget(opened.site, id);
  assert.deepEqual([target.environment, target.activity.length, target.arch], ['engine', 64, 'amd64']);
});

test('a list goes on where its page ended', async () => {
  for (const mac of ['01', '02', '03']) await see({ macs: macs(mac) });
  const first = await listTargets(opened.site, { limit: 2 });
  const second = await listTargets(opened.site, { limit: 2, after: first.next ?? '' });
  assert.equal(first.items.length, 2);
  assert.equal(second.items.length, 1);
  assert.equal(second.next, null);
});

test('swapping keeps the form of any UUID', () => {
  fc.assert(fc.property(fc.uuid(), (uuid) => assert.match(swappedUuid(uuid), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)));
});

test('a flood of strangers is written down 600 a minute at most; known machines and operators are not held up', async () => {
  let now = 1_000_000;
  const flooded = { ...opened.site, now: () => now };
  const unknown = (number: number) =>
    seeTarget(flooded, {
      macs: [`52:54:01:00:0${number >> 8}:${(number & 255).toString(16).padStart(2, '0')}` as Mac],
      discoveredBy: 'boot',
    });
  for (let number = 0; number < 600; number += 1) await unknown(number);
  await assert.rejects(unknown(700), { code: 'not_permitted', message: /600 unknown machines/ });
  await unknown(5);
  await addTarget(flooded, { name: 'web-9' as Name, macs: macs('99') }, 'operator:x');
  now += 60_001;
  await unknown(700);
});
