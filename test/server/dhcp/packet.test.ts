import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AppError } from '../../../core/errors.ts';
import { answerPxe, destinationOf, type PxeOffer } from '../../../server/dhcp/answer.ts';
import { pxeClientOf } from '../../../server/dhcp/client.ts';
import { OPTION, readOptions, writeOptions } from '../../../server/dhcp/options.ts';
import { decodeDhcp, encodeDhcp, MESSAGE } from '../../../server/dhcp/packet.ts';
import { type Asked, pxeBytes, pxeRequest } from '../../helpers/pxe-packets.ts';

const offer: PxeOffer = { address: '10.0.0.1', tftpAddress: '10.0.0.1', scriptUrl: 'http://10.0.0.1/boot.ipxe' };

/** Everything the listener does with one payload, without its socket. */
function respond(bytes: Buffer, port: 'dhcp' | 'pxe' = 'dhcp') {
  const packet = decodeDhcp(bytes);
  const client = pxeClientOf(packet);
  const answer = client && answerPxe(packet, client, port, offer);
  const to = destinationOf(packet, port, { address: '10.0.0.9', port: 68 });
  return answer && to ? { answer: decodeDhcp(encodeDhcp(answer)), to } : undefined;
}

test('any octets give an answer, none, or bad_packet: nothing else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 800 }), fc.boolean(), (tail, isOnPxePort) => {
      // Half of it valid, so that the fuzz gets past the cookie and into the options.
      const bytes = Buffer.concat([pxeBytes().subarray(0, 240), tail]);
      try {
        respond(bytes, isOnPxePort ? 'pxe' : 'dhcp');
      } catch (error) {
        assert.ok(error instanceof AppError && error.code === 'bad_packet', String(error));
      }
    }),
    { numRuns: 20_000, seed: 2131 },
  );
});

test('a flipped octet anywhere in a real request stops nothing', () => {
  const good = pxeBytes({
    options: [
      [OPTION.relayAgent, Buffer.alloc(20, 1)],
      [OPTION.userClass, Buffer.from('iPXE')],
    ],
  });
  for (let at = 0; at < good.length; at += 1) {
    for (const value of [0, 1, 0x52, 0x7f, 0xff]) {
      const bytes = Buffer.from(good);
      bytes[at] = value;
      try {
        respond(bytes);
      } catch (error) {
        assert.ok(error instanceof AppError && error.code === 'bad_packet', `octet ${at}: ${error}`);
      }
    }
  }
});

test('options that were written are read back, long ones from their pieces', () => {
  const options = fc.array(
    fc.tuple(
      fc.integer({ min: 1, max: 254 }),
      fc.uint8Array({ maxLength: 700 }).map((bytes) => Buffer.from(bytes)),
    ),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(options, (list) => {
      const written = new Map(list);
      const read = new Map<number, Buffer>();
      readOptions(writeOptions(written), read);
      assert.deepEqual(read, written);
    }),
    { seed: 3396 },
  );
});

test('a packet that was encoded is read back as it was', () => {
  const packet = pxeRequest({ ciaddr: '10.1.2.3', giaddr: '10.9.9.9', hops: 2, arch: 7 });
  assert.deepEqual(decodeDhcp(encodeDhcp(packet)), packet);
});

test('options go on in file and sname when option 52 says so', () => {
  const bytes = pxeBytes({ vendorClass: undefined, options: [[OPTION.overload, Buffer.from([3])]] });
  bytes.set(writeOptions(new Map([[OPTION.vendorClass, Buffer.from('PXEClient')]])), 108);
  bytes.set(writeOptions(new Map([[OPTION.userClass, Buffer.from('iPXE')]])), 44);
  const client = pxeClientOf(decodeDhcp(bytes));
  assert.equal(client?.isIpxe, true);
  assert.equal(decodeDhcp(bytes).file, '');
});

const broken: readonly [string, (bytes: Buffer) => Buffer][] = [
  ['an option longer than the packet', (bytes) => Buffer.concat([bytes.subarray(0, 240), Buffer.from([OPTION.vendor, 200, 1])])],
  ['an option without length', (bytes) => Buffer.concat([bytes.subarray(0, 240), Buffer.from([OPTION.clientId])])],
  [
    'an overload into a file field that is too long for itself',
    (bytes) => {
      const copy = Buffer.from(Buffer.concat([bytes.subarray(0, 240), Buffer.from([OPTION.overload, 1, 1, 255])]));
      copy.fill(0xfe, 108, 236);
      return copy;
    },
  ],
  ['no cookie', (bytes) => Buffer.concat([bytes.subarray(0, 236), Buffer.alloc(64)])],
  ['an address length of 255', (bytes) => Buffer.concat([bytes.subarray(0, 2), Buffer.from([255]), bytes.subarray(3)])],
  ['255 hops', (bytes) => Buffer.concat([bytes.subarray(0, 3), Buffer.from([255]), bytes.subarray(4)])],
  ['ten kilobytes', (bytes) => Buffer.concat([bytes, Buffer.alloc(10_000)])],
  ['nothing', () => Buffer.alloc(0)],
];
for (const [name, spoil] of broken) {
  test(`a packet with ${name} is bad_packet`, () => {
    assert.throws(() => decodeDhcp(spoil(pxeBytes())), { code: 'bad_packet' });
  });
}

const silent: readonly [string, Asked, ('dhcp' | 'pxe')?][] = [
  ['an ordinary DHCP client', { vendorClass: undefined }],
  ['another vendor class', { vendorClass: 'MSFT 5.0' }],
  ['UEFI HTTP boot, which is not ours', { vendorClass: 'HTTPClient:Arch:00016:UNDI:003001', arch: 16 }],
  ['an architecture without a loader (32-bit UEFI)', { arch: 6 }],
  ['a request on 67: it is for the DHCP server', { message: MESSAGE.request }],
  ['a discover on 4011', { message: MESSAGE.discover }, 'pxe'],
  ['an offer of another server', { message: MESSAGE.offer }],
  ['a client UUID of a wrong length', { options: [[OPTION.clientUuid, Buffer.alloc(300)]] }],
  ['a client architecture of odd length', { options: [[OPTION.clientArch, Buffer.alloc(3)]] }],
  ['an empty client architecture', { options: [[OPTION.clientArch, Buffer.alloc(0)]] }],
  ['a message type of two octets', { options: [[OPTION.messageType, Buffer.from([1, 1])]] }],
  ['a relay that says it is 255.255.255.255', { giaddr: '255.255.255.255', hops: 1 }],
  ['a relay that says it is loopback', { giaddr: '127.0.0.1', hops: 1 }],
  ['a relay that counted no hop', { giaddr: '10.9.9.9' }],
];
for (const [name, asked, port] of silent) {
  test(`no answer to ${name}`, () => assert.equal(respond(pxeBytes(asked), port), undefined));
}

const loaders: readonly [string, number, string][] = [
  ['BIOS', 0, 'boot/amd64/undionly.kpxe'],
  ['UEFI x64', 7, 'boot/amd64/snponly.efi'],
  ['UEFI x64 that says EFI BC', 9, 'boot/amd64/snponly.efi'],
  ['UEFI arm64', 11, 'boot/arm64/snponly.efi'],
];
for (const [name, arch, file] of loaders) {
  test(`${name} is told ${file}`, () => assert.equal(respond(pxeBytes({ arch }))?.answer.file, file));
}

test('the offer has no address, our server id, the vendor class, the UUID and the transaction', () => {
  const { answer, to } = respond(pxeBytes()) ?? {};
  assert.equal(answer?.op, 'reply');
  assert.equal(answer?.xid, 0x12345678);
  assert.equal(answer?.yiaddr, '0.0.0.0');
  assert.deepEqual([...(answer?.options.get(OPTION.serverId) ?? [])], [10, 0, 0, 1]);
  assert.equal(answer?.options.get(OPTION.vendorClass)?.toString(), 'PXEClient');
  assert.equal(answer?.options.get(OPTION.clientUuid)?.length, 17);
  assert.deepEqual([...(answer?.options.get(OPTION.vendor) ?? [])], [6, 1, 8, 255]);
  assert.deepEqual(to, { address: '255.255.255.255', port: 68 });
});

test('UEFI gets no option 43, so that it asks on 4011', () => {
  assert.equal(respond(pxeBytes({ arch: 7 }))?.answer.options.has(OPTION.vendor), false);
});

test('iPXE is known by option 77 or by option 175 alone, on both ports, and gets the script', () => {
  for (const option of [
    [OPTION.userClass, Buffer.from('iPXE')],
    [OPTION.etherboot, Buffer.from([0xb1, 1, 1])],
  ] as const) {
    for (const [port, message] of [
      ['dhcp', MESSAGE.discover],
      ['pxe', MESSAGE.request],
    ] as const) {
      for (const arch of [0, 7, 11]) {
        assert.equal(respond(pxeBytes({ options: [option], message, arch }), port)?.answer.file, offer.scriptUrl);
      }
    }
  }
});

test('a relay gets the answer and its own option back', () => {
  const { answer, to } =
    respond(pxeBytes({ giaddr: '10.9.9.9', hops: 1, options: [[OPTION.relayAgent, Buffer.from([1, 2, 7, 7])]] })) ?? {};
  assert.deepEqual(to, { address: '10.9.9.9', port: 67 });
  assert.deepEqual([...(answer?.options.get(OPTION.relayAgent) ?? [])], [1, 2, 7, 7]);
});
