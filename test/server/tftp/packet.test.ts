import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AppError } from '../../../core/errors.ts';
import { negotiate } from '../../../server/tftp/negotiate.ts';
import { decodePacket, encodeAck, encodeData, encodeError, encodeOack, encodeRequest } from '../../../server/tftp/packet.ts';

const text = fc.stringMatching(/^[ -~]{0,40}$/);
const optionName = fc.stringMatching(/^[a-z]{1,12}$/);

test('any octets are a packet or bad_packet, nothing else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 700 }), fc.integer({ min: 0, max: 8 }), (bytes, opcode) => {
      const packet = Buffer.from(bytes);
      if (packet.length >= 2) packet.writeUInt16BE(opcode, 0);
      try {
        decodePacket(packet);
      } catch (error) {
        assert.ok(error instanceof AppError && error.code === 'bad_packet', String(error));
      }
    }),
    { numRuns: 5_000, seed: 1350 },
  );
});

test('a request that was encoded is read back as it was', () => {
  const request = fc.record(
    {
      kind: fc.constantFrom('read' as const, 'write' as const),
      file: text,
      mode: fc.constantFrom('octet', 'netascii', 'mail'),
      options: fc.array(fc.tuple(optionName, text), { maxLength: 5 }).map((list) => new Map(list)),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(request, (value) => assert.deepEqual(decodePacket(encodeRequest(value)), value)),
    { seed: 2347 },
  );
});

test('the other packets are read back as they were', () => {
  fc.assert(
    fc.property(fc.nat(65_535), fc.uint8Array({ maxLength: 600 }), (number, data) => {
      assert.deepEqual(decodePacket(encodeAck(number)), { kind: 'ack', block: number });
      assert.deepEqual(decodePacket(encodeData(number, data)), { kind: 'data', block: number, data: Buffer.from(data) });
      assert.deepEqual(decodePacket(encodeError(number, 'no')), { kind: 'error', code: number, message: 'no' });
    }),
  );
  const options = new Map([['blksize', '1428']]);
  assert.deepEqual(decodePacket(encodeOack(options)), { kind: 'oack', options });
});

test('modes and option names are matched without case, and the first of a repeated option counts', () => {
  const packet = decodePacket(Buffer.from('\0\x01file\0OCTET\0BlkSize\x001024\0blksize\x00512\0'));
  assert.ok(packet.kind === 'read');
  assert.equal(packet.mode, 'octet');
  assert.deepEqual([...packet.options], [['blksize', '1024']]);
});

test('a request of more than 512 octets, without mode or without its last NUL is refused', () => {
  for (const bad of [`\0\x01${'a'.repeat(600)}\0octet\0`, '\0\x01file\0', '\0\x01file\0octet', '\0\x01', '\0\x07file\0octet\0']) {
    assert.throws(() => decodePacket(Buffer.from(bad)), { code: 'bad_packet' }, JSON.stringify(bad));
  }
});

const cases: readonly [string, Record<string, string>, { mtu?: number; block: number; window: number; oack: Record<string, string> }][] = [
  ['no option', {}, { block: 512, window: 1, oack: {} }],
  ['blksize 8', { blksize: '8' }, { block: 8, window: 1, oack: { blksize: '8' } }],
  ['blksize 7 is out of range and refused', { blksize: '7' }, { block: 512, window: 1, oack: {} }],
  ['blksize 0', { blksize: '0' }, { block: 512, window: 1, oack: {} }],
  ['blksize 65464 on loopback', { blksize: '65464' }, { mtu: 65_536, block: 65_464, window: 1, oack: { blksize: '65464' } }],
  ['blksize 65465 is lowered', { blksize: '65465' }, { mtu: 65_536, block: 65_464, window: 1, oack: { blksize: '65464' } }],
  ['blksize 65464 on Ethernet is one packet', { blksize: '65464' }, { block: 1_468, window: 1, oack: { blksize: '1468' } }],
  ['blksize on a tunnel of MTU 1400', { blksize: '1456' }, { mtu: 1_400, block: 1_368, window: 1, oack: { blksize: '1368' } }],
  ['words for a number', { blksize: 'large', windowsize: '-1' }, { block: 512, window: 1, oack: {} }],
  ['a number of many digits', { blksize: '9'.repeat(100) }, { block: 512, window: 1, oack: {} }],
  ['windowsize 4', { windowsize: '4' }, { block: 512, window: 4, oack: { windowsize: '4' } }],
  ['windowsize 65535 is lowered', { windowsize: '65535' }, { block: 512, window: 64, oack: { windowsize: '64' } }],
  ['windowsize 0', { windowsize: '0' }, { block: 512, window: 1, oack: {} }],
  ['tsize tells the size whatever was sent', { tsize: '12junk' }, { block: 512, window: 1, oack: { tsize: '777' } }],
  ['timeout and unknown options are left out', { timeout: '1', multicast: '', rollover: '1' }, { block: 512, window: 1, oack: {} }],
];
for (const [name, options, { mtu = 1_500, block, window, oack }] of cases) {
  test(`options: ${name}`, () => {
    const terms = negotiate(new Map(Object.entries(options)), 777, mtu);
    assert.equal(terms.blockSizeBytes, block);
    assert.equal(terms.windowSize, window);
    assert.deepEqual(Object.fromEntries(terms.oack), oack);
  });
}
