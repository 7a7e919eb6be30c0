import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { type Digest, type Id, newId } from '../../../core/ids.ts';
import { bootScriptFor } from '../../../server/boot/decide.ts';
import { type Machine, parseMachine } from '../../../server/boot/machine.ts';
import { findActiveOrder, insertOrder, updateOrder } from '../../../server/db/orders.ts';
import { addTarget, getBoot, getTarget } from '../../../server/targets.ts';
import { type BootSite, openBootSite } from '../../helpers/boot-site.ts';

const ENGINE = `sha256:${'a'.repeat(64)}` as Digest;
const ORIGIN = 'http://10.0.2.2:8080';
const MAC = '52:54:00:12:34:56';
const bios = parseMachine({ mac: '52-54-00-12-34-56', uuid: '', serial: '', arch: 'i386', platform: 'pcbios' });
const uefi: Machine = { ...bios, firmware: 'uefi' };
let opened: BootSite;

async function openWith(settings: Parameters<typeof openBootSite>[0] = {}): Promise<BootSite> {
  await opened.close();
  opened = await openBootSite(settings);
  return opened;
}

beforeEach(async () => {
  opened = await openBootSite();
  await opened.publishEngine(ENGINE, {});
});
afterEach(() => opened.close());

async function orderFor(targetId: Id): Promise<Id> {
  const id = newId();
  const { site } = opened;
  await insertOrder(site.db, {
    ...{ id, targetId, jobId: newId(), imageId: newId(), imageReference: 'debian@1', manifest: ENGINE, nonce: 'f'.repeat(64) },
    ...{ origin: site.self.id, now: 1 },
  });
  return id;
}

test('an unknown machine is written down and waits in the engine', async () => {
  const script = await bootScriptFor(opened.site, bios, ORIGIN);
  assert.match(script, /^#!ipxe\n/);
  assert.match(script, new RegExp(`kernel http://10.0.2.2:8080/boot/amd64/${'a'.repeat(64)}/vmlinuz `));
  assert.match(script, / ws.url=https:\/\/10.0.2.2:8443 ws.pin=sha256:c{64} ws.boot=[0-9a-f-]{36} BOOTIF=01-52-54-00-12-34-56 /);
  const target = await getTarget(opened.site, MAC);
  assert.equal(target.discoveredBy, 'boot');
  assert.equal(target.activity, 'starting the engine');
  const boot = await getBoot(opened.site, /ws.boot=(\S+)/.exec(script)?.[1] ?? '');
  assert.deepEqual([boot?.targetId, boot?.what], [target.id, 'engine']);
  const [event] = await opened.site.db('events').select('kind', 'subject');
  assert.deepEqual([event.kind, event.subject], ['target.discovered', target.id]);
});

test('it waits there again when it is started again before somebody made an order', async () => {
  await bootScriptFor(opened.site, bios, ORIGIN);
  assert.match(await bootScriptFor(opened.site, bios, ORIGIN), /^kernel/m);
});

test('with unknownTargets: disk an unknown machine is written down and boots its disk', async () => {
  await (await openWith({ unknownTargets: 'disk' })).publishEngine(ENGINE, {});
  assert.match(await bootScriptFor(opened.site, bios, ORIGIN), /sanboot --no-describe --drive 0x80 \|\| exit\n$/);
  assert.equal((await getTarget(opened.site, MAC)).environment, 'disk');
});

test('a machine that an operator knows boots its disk while it has no order', async () => {
  await addTarget(opened.site, { name: 'web-1' as never, macs: [MAC as never] }, 'operator:x');
  assert.doesNotMatch(await bootScriptFor(opened.site, bios, ORIGIN), /kernel/);
});

test('a discovered machine that was named later boots its disk', async () => {
  await bootScriptFor(opened.site, bios, ORIGIN);
  await addTarget(opened.site, { name: 'web-1' as never, macs: [MAC as never] }, 'operator:x');
  assert.doesNotMatch(await bootScriptFor(opened.site, bios, ORIGIN), /kernel/);
});

test('a disk boot under UEFI leaves iPXE with a failure, so that the firmware tries the next entry', async () => {
  await addTarget(opened.site, { name: 'web-1' as never, macs: [MAC as never] }, 'operator:x');
  assert.equal(await bootScriptFor(opened.site, uefi, ORIGIN), '#!ipxe\nexit 1\n');
});

test('an order leads into the engine, again and again until its disk is written, then to the disk, and stays there when it ended', async () => {
  const target = await addTarget(opened.site, { name: 'web-1' as never, macs: [MAC as never] }, 'operator:x');
  await orderFor(target.id);
  const boots = async () => /^kernel/m.test(await bootScriptFor(opened.site, bios, ORIGIN));
  const change = async (patch: Parameters<typeof updateOrder>[2]) => {
    const order = await findActiveOrder(opened.site.db, target.id);
    assert.ok(order && (await updateOrder(opened.site.db, order, patch, 2)));
  };
  assert.equal(await boots(), true);
  await change({ state: 'installing' });
  assert.equal(await boots(), true, 'the machine lost power and resumes');
  await change({ diskWritten: true });
  assert.equal(await boots(), false, 'no double boot');
  await opened.site.db('active_orders').delete();
  assert.equal(await boots(), false);
});

test('without an engine the screen says so and the disk is booted after a pause', async () => {
  await openWith();
  const script = await bootScriptFor(opened.site, bios, ORIGIN);
  assert.match(script, /echo Waystation: this server holds no engine for amd64/);
  assert.match(script, /sleep 8\nsanboot/);
});

test('the newest published engine is used; incoming and deleted ones are not, nor those of another architecture', async () => {
  const newer = `sha256:${'b'.repeat(64)}` as Digest;
  for (const [digit, options] of [
    ['d', { state: 'incoming' }],
    ['e', { state: 'deleted' }],
    ['f', { arch: 'arm64' }],
  ] as const) {
    await opened.publishEngine(`sha256:${digit.repeat(64)}` as Digest, {}, options);
  }
  assert.match(await bootScriptFor(opened.site, bios, ORIGIN), /\/a{64}\/vmlinuz/);
  await new Promise((resolve) => setTimeout(resolve, 2));
  await opened.publishEngine(newer, {});
  assert.match(await bootScriptFor(opened.site, bios, ORIGIN), /\/b{64}\/vmlinuz/);
});

test('what the configuration advertises stands in the script', async () => {
  await (await openWith({ advertise: { http: 'http://boot.example:81/', https: 'https://boot.example' } })).publishEngine(ENGINE, {});
  const script = await bootScriptFor(opened.site, bios, ORIGIN);
  assert.match(script, /kernel http:\/\/boot.example:81\/boot\/amd64/);
  assert.match(script, /ws.url=https:\/\/boot.example /);
});

test('a machine that shows nothing boots its disk and is not written down', async () => {
  const script = await bootScriptFor(opened.site, { ...bios, macs: [] }, ORIGIN);
  assert.match(script, /echo Waystation: this machine shows no MAC address, UUID or serial number/);
  assert.deepEqual(await opened.site.db('targets').select('id'), []);
});

test('who asks again and again for a boot script gets the same boot, until an agent has used it; old boots are forgotten', async () => {
  let now = Date.now();
  const site = { ...opened.site, now: () => now };
  const ask = async () => /ws.boot=(\S+)/.exec(await bootScriptFor(site, bios, ORIGIN))?.[1] ?? '';
  const first = await ask();
  for (let again = 0; again < 20; again += 1) assert.equal(await ask(), first);
  const { targetId } = (await getBoot(site, first)) ?? assert.fail('the boot is not there');
  await site.db('agent_keys').insert({
    ...{ target_id: targetId, key_id: `sha256:${'e'.repeat(64)}`, boot_id: first, state: 'bound', bound_at: now, seen_at: now },
  });
  assert.notEqual(await ask(), first, 'the machine was started again');
  now += 3 * 24 * 3_600_000;
  await ask();
  assert.equal((await site.db('boots')).length, 1);
});
