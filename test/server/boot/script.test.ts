import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseRange } from '../../../server/boot/files.ts';
import { parseLoaderName } from '../../../server/boot/loaders.ts';
import { parseMachine } from '../../../server/boot/machine.ts';
import { diskScript, firstScript, text, word } from '../../../server/boot/script.ts';
import { baseUrl, targetUrls } from '../../../server/boot/urls.ts';

/** How iPXE names a setting. */
const setting = (name: string) => ['$', '{', name, '}'].join('');

test('the first script asks with who the machine is, and goes on to the disk when nobody answers', () => {
  assert.equal(
    firstScript(),
    [
      '#!ipxe',
      `chain --replace /boot/script?mac=${setting('netX/mac:hexhyp')}&uuid=${setting('uuid')}&serial=${setting('serial:uristring')}&arch=${setting('buildarch:uristring')}&platform=${setting('platform:uristring')} || goto failed`,
      ':failed',
      'echo Waystation: the server does not say what to boot, going on to the disk',
      'sleep 8',
      `iseq ${setting('platform')} efi || goto bios`,
      'exit 1',
      ':bios',
      'sanboot --no-describe --drive 0x80 || exit',
      '',
    ].join('\n'),
  );
});

test('whatever is said to be shown, it is one echo and nothing else', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (why) => {
      const lines = diskScript('uefi', why).split('\n');
      assert.equal(lines.length, 5);
      assert.match(lines[1] ?? '', /^echo Waystation: [A-Za-z0-9 .,:()/_@%+?-]*$/);
    }),
    { seed: 1 },
  );
  assert.equal(text(`a ${setting('net0/mac')} || shell ; $(x) 'y'`), 'a ??net0/mac? ?? shell ? ?(x) ?y?');
});

test('a word that could end or expand is refused', () => {
  for (const bad of ['', 'a b', 'a\nshell', setting('x'), 'a;b', 'a&&b', 'a||b', '#', '\\', "'", '"', 'é'])
    assert.throws(() => word(bad), RangeError, bad);
  assert.equal(word('http://[fe80::1]:80/x-y_z~1?'.replace('?', '')), 'http://[fe80::1]:80/x-y_z~1');
});

test('what a machine says of itself is parsed or dropped', () => {
  const said = parseMachine({ mac: '52-54-00-AA-BB-CC', uuid: 'u'.repeat(300), serial: 'x', arch: 'x86_64', platform: 'efi' });
  assert.deepEqual(said, { macs: ['52:54:00:aa:bb:cc'], uuid: undefined, serial: 'x', arch: 'amd64', firmware: 'uefi' });
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom('mac', 'uuid', 'serial', 'arch', 'platform'), fc.string()), (query) => {
      const machine = parseMachine(query);
      for (const mac of machine.macs) assert.match(mac, /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
      assert.match(`${machine.arch} ${machine.firmware}`, /^(amd64|arm64) (bios|uefi)$/);
    }),
  );
});

test('i386 is what BIOS iPXE is built as, on 64-bit machines too', () => {
  assert.equal(parseMachine({ arch: 'i386', platform: 'pcbios' }).arch, 'amd64');
  assert.equal(parseMachine({ arch: 'arm64', platform: 'efi' }).arch, 'arm64');
});

test('only names of the tree are loaders', () => {
  assert.deepEqual(parseLoaderName('boot/amd64/undionly.kpxe'), { arch: 'amd64', file: 'undionly.kpxe' });
  assert.deepEqual(parseLoaderName('/boot/arm64/snponly.efi'), { arch: 'arm64', file: 'snponly.efi' });
  for (const name of [
    '',
    '/',
    'undionly.kpxe',
    'boot/arm64/undionly.kpxe',
    'boot/amd64/../x',
    '//boot/amd64/snponly.efi',
    'boot/amd64/ipxe.iso',
    'boot\\amd64\\snponly.efi',
    'boot/amd64/snponly.efi\n',
  ]) {
    assert.equal(parseLoaderName(name), undefined, name);
  }
});

const ranges: readonly [string | undefined, unknown][] = [
  [undefined, 'whole'],
  ['bytes=0-', { first: 0, last: 99 }],
  ['bytes=10-19', { first: 10, last: 19 }],
  ['bytes=90-1000', { first: 90, last: 99 }],
  ['bytes=-10', { first: 90, last: 99 }],
  ['bytes=-1000', { first: 0, last: 99 }],
  ['bytes=100-', 'unsatisfiable'],
  ['bytes=-0', 'unsatisfiable'],
  ['bytes=5-2', 'whole'],
  ['bytes=0-1,5-6', 'whole'],
  ['lines=1-2', 'whole'],
  ['bytes=-', 'whole'],
];
for (const [header, range] of ranges) {
  test(`Range ${header ?? '(none)'} of 100 octets`, () => assert.deepEqual(parseRange(header, 100), range));
}

test('targets are told the host they used, with the port of HTTPS unless it is 443', () => {
  const config = (httpsPort: number) => ({ config: { httpsPort, advertise: {} } }) as never;
  assert.deepEqual(targetUrls(config(8443), 'http://10.0.2.2:8080'), { http: 'http://10.0.2.2:8080', https: 'https://10.0.2.2:8443' });
  assert.deepEqual(targetUrls(config(443), 'http://[fd00::1]'), { http: 'http://[fd00::1]', https: 'https://[fd00::1]' });
  assert.equal(baseUrl('http', '10.0.0.1', 80), 'http://10.0.0.1');
});
