import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import type { Digest } from '../../../core/ids.ts';
import { createApp } from '../../../server/api/app.ts';
import { BOOT_ROUTES } from '../../../server/api/routes/boot.ts';
import { loaderFiles } from '../../../server/boot/loaders.ts';
import { type BootSite, openBootSite } from '../../helpers/boot-site.ts';

const ENGINE = 'ab'.repeat(32);
const OTHER = 'cd'.repeat(32);
const kernel = randomBytes(123_457);
let opened: BootSite;
let server: Server;
let base: string;

before(async () => {
  opened = await openBootSite();
  const files = {
    'boot/amd64/vmlinuz': kernel,
    'boot/amd64/undionly.kpxe': Buffer.from('ours'),
    'boot/amd64/secret': Buffer.from('x'),
    'etc/secret': Buffer.from('x'),
  };
  await opened.publishEngine(`sha256:${ENGINE}` as Digest, files);
  await opened.publishEngine(`sha256:${OTHER}` as Digest, files, { state: 'incoming' });
  server = createServer(createApp({ site: opened.site, listener: 'boot', findAgent: async () => undefined }, BOOT_ROUTES));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(async () => {
  server.closeAllConnections();
  server.close();
  await opened.close();
});

test('a boot file comes whole, with its length', async () => {
  const response = await fetch(`${base}/boot/amd64/${ENGINE}/vmlinuz`);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-length'), String(kernel.length));
  assert.equal(response.headers.get('accept-ranges'), 'bytes');
  assert.deepEqual(Buffer.from(await response.arrayBuffer()), kernel);
});

test('a range comes alone', async () => {
  for (const [header, first, last] of [
    ['bytes=0-0', 0, 0],
    ['bytes=9999-20001', 9_999, 20_001],
    ['bytes=-5', 123_452, 123_456],
    ['bytes=100000-', 100_000, 123_456],
  ] as const) {
    const response = await fetch(`${base}/boot/amd64/${ENGINE}/vmlinuz`, { headers: { range: header } });
    assert.equal(response.status, 206);
    assert.equal(response.headers.get('content-range'), `bytes ${first}-${last}/${kernel.length}`);
    assert.deepEqual(Buffer.from(await response.arrayBuffer()), kernel.subarray(first, last + 1), header);
  }
  const behind = await fetch(`${base}/boot/amd64/${ENGINE}/vmlinuz`, { headers: { range: 'bytes=999999-' } });
  assert.equal(behind.status, 416);
  assert.equal(behind.headers.get('content-range'), `bytes */${kernel.length}`);
});

test('HEAD tells the length without the octets', async () => {
  const response = await fetch(`${base}/boot/amd64/${ENGINE}/vmlinuz`, { method: 'HEAD' });
  assert.equal(response.headers.get('content-length'), String(kernel.length));
  assert.equal((await response.arrayBuffer()).byteLength, 0);
});

for (const path of [
  `/boot/amd64/${OTHER}/vmlinuz`,
  `/boot/amd64/${'0'.repeat(64)}/vmlinuz`,
  `/boot/amd64/${ENGINE}/secret`,
  `/boot/arm64/${ENGINE}/vmlinuz`,
  `/boot/amd64/${ENGINE}/..%2f..%2fetc%2fsecret`,
  `/boot/amd64/${ENGINE.toUpperCase()}/vmlinuz`,
  `/boot/x/${ENGINE}/vmlinuz`,
]) {
  test(`there is nothing at ${path.replace(/[0-9a-fA-F]{64}/, (hex) => `${hex.slice(0, 4)}…`)}`, async () => {
    assert.equal((await fetch(`${base}${path}`)).status, 404);
  });
}

test('the first script is text that chains to the second, and the second knows the host that was asked', async () => {
  const first = await fetch(`${base}/boot.ipxe`);
  assert.match(first.headers.get('content-type') ?? '', /^text\/plain/);
  assert.match(await first.text(), /^#!ipxe\nchain --replace \/boot\/script\?/);
  const second = await (await fetch(`${base}/boot/script?mac=52-54-00-00-00-01&uuid=&serial=&arch=x86_64&platform=efi`)).text();
  assert.match(second, new RegExp(`kernel ${base}/boot/amd64/${ENGINE}/vmlinuz `));
  assert.match(second, /ws\.url=https:\/\/127\.0\.0\.1:8443 /);
});

test('hostile queries give a script and never another command', async () => {
  for (const query of [
    '',
    'mac=%0ashell',
    'mac[]=1&mac[a]=2',
    `uuid=${'x'.repeat(5_000)}`,
    'serial=%00%ff%0a;shell&mac=52540000000f',
    'arch=../../x&platform=%24%7Bx%7D&mac=52540000000e',
  ]) {
    const response = await fetch(`${base}/boot/script?${query}`);
    assert.equal(response.status, 200, query);
    const script = await response.text();
    assert.match(script, /^#!ipxe\n/);
    assert.doesNotMatch(script, /shell|\$|;/, query);
  }
});

test('the database away: the machine is told to boot its disk', async () => {
  const lost = await openBootSite();
  await lost.site.db.destroy();
  const other = createServer(createApp({ site: lost.site, listener: 'boot', findAgent: async () => undefined }, BOOT_ROUTES));
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const response = await fetch(`http://127.0.0.1:${(other.address() as AddressInfo).port}/boot/script?mac=525400000001&platform=efi`);
  assert.match(await response.text(), /echo Waystation: the server cannot say what to boot.*\nsleep 8\nexit 1\n/);
  other.closeAllConnections();
  other.close();
  await lost.close();
});

test('loaders come from the newest engine, and from the distribution what it lacks', async () => {
  const files = loaderFiles(opened.site);
  assert.equal(Buffer.from((await files.read('boot/amd64/undionly.kpxe')) ?? []).toString(), 'ours');
  assert.ok(((await files.read('/boot/amd64/snponly.efi'))?.length ?? 0) > 50_000);
  assert.equal(await files.read('boot/arm64/snponly.efi'), undefined);
  assert.equal(await files.read('boot/amd64/vmlinuz'), undefined);
  assert.equal(await files.read('boot/amd64/secret'), undefined);
});
