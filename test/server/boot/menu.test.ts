import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { digestOf } from '../../../core/envelope.ts';
import { type Digest, type Id, newId } from '../../../core/ids.ts';
import { bootScriptFor } from '../../../server/boot/decide.ts';
import { parseMachine } from '../../../server/boot/machine.ts';
import { menuScript } from '../../../server/boot/script.ts';
import { putObject, takeGeneration } from '../../../server/db/objects.ts';
import { findActiveOrder, insertOrder, updateOrder } from '../../../server/db/orders.ts';
import { addTarget } from '../../../server/targets.ts';
import { type BootSite, openBootSite } from '../../helpers/boot-site.ts';

const ENGINE = `sha256:${'a'.repeat(64)}` as Digest;
const ORIGIN = 'http://10.0.2.2:8080';
const MAC = '52:54:00:12:34:56';
const bios = parseMachine({ mac: '52-54-00-12-34-56', uuid: '', serial: '', arch: 'i386', platform: 'pcbios' });
let opened: BootSite;

beforeEach(async () => {
  opened = await openBootSite({ unknownTargets: 'menu', idleTargets: 'menu', menuSeconds: 7 });
});
afterEach(() => opened.close());

async function put(type: string, name: string, content: unknown, origin: Id = opened.site.self.id): Promise<void> {
  const body = { type, name, content: content as null };
  const signed = { digest: digestOf(body), keyId: ENGINE, signature: '' };
  const envelope = { kind: 'document', id: newId(), origin, revision: 1, body, ...signed } as const;
  await opened.site.db.transaction(async (trx) => putObject(trx, envelope, await takeGeneration(trx)));
}

const boot = (choice?: string) => bootScriptFor(opened.site, bios, ORIGIN, choice);
const linux = { kind: 'linux', kernel: '{{waystation.http}}/k', initrd: ['{{mirror}}/i'], arguments: 'quiet {{extra}}' };

test('without entries the machine boots its disk', async () => {
  assert.match(await boot(), /^#!ipxe\nsanboot/);
});

test('the menu shows the entries for such machines in their order, and boots the disk when nobody chooses', async () => {
  await put('menu', 'second', { title: 'Second', boot: { kind: 'disk' } });
  await put('menu', 'first', { title: 'First', position: 1, boot: { kind: 'engine' } });
  await put('menu', 'uefi-only', { title: 'Other', firmware: 'uefi', boot: { kind: 'disk' } });
  await put('menu', 'arm-only', { title: 'Other', arch: 'arm64', boot: { kind: 'disk' } });
  const lines = (await boot()).split('\n');
  assert.deepEqual(lines.slice(0, 6), [
    '#!ipxe',
    'menu Waystation',
    'item .disk Boot from the local disk',
    'item first First',
    'item second Second',
    'choose --default .disk --timeout 7000 chosen || goto disk',
  ]);
  assert.deepEqual(lines.slice(-3), [':disk', 'sanboot --no-describe --drive 0x80 || exit', '']);
});

test('a chosen entry boots its kernel, with parameters in the place of their names', async () => {
  await put('parameter', 'mirror', { value: 'http://mirror.example' });
  await put('parameter', 'extra', { value: 'ip=dhcp  console=ttyS0' });
  await put('menu', 'rescue', { title: 'Rescue', boot: linux });
  const script = await boot('rescue');
  assert.match(script, /^kernel http:\/\/10\.0\.2\.2:8080\/k quiet ip=dhcp console=ttyS0 \|\| goto failed$/m);
  assert.match(script, /^initrd http:\/\/mirror\.example\/i \|\| goto failed$/m);
  await put('menu', 'other', { title: 'Other', boot: { kind: 'chain', location: '{{mirror}}/x.ipxe' } });
  assert.match(await boot('other'), /^chain http:\/\/mirror\.example\/x\.ipxe \|\| goto failed$/m);
  await opened.publishEngine(ENGINE, {});
  await put('menu', 'engine', { title: 'Engine', boot: { kind: 'engine' } });
  assert.match(await boot('engine'), /^kernel .*vmlinuz.* ws\.boot=/m);
});

test('an entry that lacks a parameter, or whose parameter is no word, is not shown', async () => {
  await put('menu', 'rescue', { title: 'Rescue', boot: linux });
  await put('parameter', 'mirror', { value: 'http://mirror.example' });
  assert.match(await boot(), /^#!ipxe\nsanboot/, 'a parameter is missing');
  await put('parameter', 'extra', { value: `a||shell ${['$', '{x}'].join('')}` });
  assert.match(await boot(), /^#!ipxe\nsanboot/, 'a value is no word');
  await put('menu', 'relative', { title: 'Relative', boot: { kind: 'chain', location: 'file' } });
  assert.match(await boot(), /^#!ipxe\nsanboot/, 'a location is none');
});

test('a document of this server comes before one of another that has its name', async () => {
  await put('menu', 'tools', { title: 'Of the master', boot: { kind: 'disk' } }, newId());
  assert.match(await boot(), /^item tools Of the master$/m);
  await put('menu', 'tools', { title: 'Of the branch', boot: { kind: 'disk' } });
  assert.match(await boot(), /^item tools Of the branch$/m);
  assert.doesNotMatch(await boot(), /Of the master/);
});

test('an order comes before every menu and every choice, and after its disk is written the disk does', async () => {
  await opened.publishEngine(ENGINE, {});
  await put('menu', 'tools', { title: 'Tools', boot: { kind: 'chain', location: 'http://x/y' } });
  const target = await addTarget(opened.site, { name: 'web-1' as never, macs: [MAC as never] }, 'operator:x');
  assert.match(await boot(), /^menu/m);
  const order = { targetId: target.id, jobId: newId(), imageId: newId(), imageReference: 'debian@1', manifest: ENGINE };
  await insertOrder(opened.site.db, { id: newId(), ...order, nonce: 'f'.repeat(64), origin: opened.site.self.id, now: 1 });
  for (const choice of [undefined, 'tools']) assert.match(await boot(choice), /^kernel .*vmlinuz/m);
  const active = await findActiveOrder(opened.site.db, target.id);
  assert.ok(active && (await updateOrder(opened.site.db, active, { diskWritten: true }, 2)));
  for (const choice of [undefined, 'tools']) assert.match(await boot(choice), /^#!ipxe\nsanboot/);
});

test('where no menu is shown a choice is nothing', async () => {
  await opened.close();
  opened = await openBootSite({ unknownTargets: 'disk' });
  await put('menu', 'tools', { title: 'Tools', boot: { kind: 'chain', location: 'http://x/y' } });
  assert.match(await boot('tools'), /^#!ipxe\nsanboot/);
});

test('whatever titles say, the menu has one item for each and ends at the disk', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 90 }), { maxLength: 5 }), (titles) => {
      const lines = menuScript(
        titles.map((title, n) => ({ name: `e${n}`, title })),
        { firmware: 'bios', seconds: 5 },
      ).split('\n');
      assert.equal(lines.length, 9 + titles.length);
      for (const line of lines.slice(3, 3 + titles.length)) assert.match(line, /^item e\d [A-Za-z0-9 .,:()/_@%+?-]*$/);
    }),
    { seed: 1 },
  );
});
