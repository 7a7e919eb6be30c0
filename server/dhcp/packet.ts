import { AppError } from '../../core/errors.ts';
import type { Mac } from '../../core/ids.ts';
import { type DhcpOptions, OPTION, readOptions, writeOptions } from './options.ts';

/** Values of option 53 that matter here (RFC 2132 §9.6). */
export const MESSAGE = { discover: 1, offer: 2, request: 3, ack: 5, inform: 8 } as const;

/**
 * A DHCP packet over Ethernet. `file` and `serverName` are up to their first NUL. Layout (RFC 2131 §2): op htype hlen hops
 * xid(4) secs(2) flags(2) ciaddr yiaddr siaddr giaddr (4 each) chaddr(16) sname(64) file(128) cookie(4) options.
 */
export type DhcpPacket = {
  readonly op: 'request' | 'reply';
  readonly hops: number;
  readonly xid: number;
  readonly secs: number;
  readonly flags: number;
  readonly ciaddr: string;
  readonly yiaddr: string;
  readonly siaddr: string;
  readonly giaddr: string;
  readonly mac: Mac;
  readonly serverName: string;
  readonly file: string;
  readonly options: DhcpOptions;
};

const FIXED_BYTES = 236;
const COOKIE = 0x63825363;
/** RFC 2131 §2 and old relays: a shorter packet may be dropped on its way. */
const LEAST_BYTES = 300;
/** Anything longer is no DHCP packet of an Ethernet. */
const MOST_BYTES = 9_216;
const MOST_HOPS = 16;

/**
 * Reads one UDP payload. Options may go on in `file` and `sname` (option 52). Throws `bad_packet` for
 * anything that is cut off, not Ethernet, or whose lengths do not hold.
 */
export function decodeDhcp(bytes: Buffer): DhcpPacket {
  if (bytes.length < FIXED_BYTES + 4 || bytes.length > MOST_BYTES) throw bad(`${bytes.length} octets`);
  const [op, hardware, addressLength, hops] = bytes as unknown as readonly [number, number, number, number];
  if (op !== 1 && op !== 2) throw bad(`op ${op}`);
  if (hardware !== 1 || addressLength !== 6) throw bad(`hardware type ${hardware}, address of ${addressLength} octets`);
  if (hops > MOST_HOPS) throw bad(`${hops} hops`);
  if (bytes.readUInt32BE(FIXED_BYTES) !== COOKIE) throw bad('no magic cookie');
  const options = new Map<number, Buffer>();
  readOptions(bytes.subarray(FIXED_BYTES + 4), options);
  const overload = options.get(OPTION.overload)?.[0] ?? 0;
  const file = bytes.subarray(108, 236);
  const serverName = bytes.subarray(44, 108);
  if (overload & 1) readOptions(file, options);
  if (overload & 2) readOptions(serverName, options);
  return {
    op: op === 1 ? 'request' : 'reply',
    hops,
    xid: bytes.readUInt32BE(4),
    secs: bytes.readUInt16BE(8),
    flags: bytes.readUInt16BE(10),
    ciaddr: addressAt(bytes, 12),
    yiaddr: addressAt(bytes, 16),
    siaddr: addressAt(bytes, 20),
    giaddr: addressAt(bytes, 24),
    mac: macAt(bytes, 28),
    serverName: overload & 2 ? '' : textOf(serverName),
    file: overload & 1 ? '' : textOf(file),
    options,
  };
}

/** Writes a packet of at least 300 octets. Throws RangeError when `file` or `serverName` do not fit their fields: a bug of ours. */
export function encodeDhcp(packet: DhcpPacket): Buffer {
  const head = Buffer.alloc(FIXED_BYTES + 4);
  head.set([packet.op === 'request' ? 1 : 2, 1, 6, packet.hops]);
  head.writeUInt32BE(packet.xid, 4);
  head.writeUInt16BE(packet.secs, 8);
  head.writeUInt16BE(packet.flags, 10);
  for (const [index, address] of [packet.ciaddr, packet.yiaddr, packet.siaddr, packet.giaddr].entries()) {
    head.set(address.split('.').map(Number), 12 + 4 * index);
  }
  head.set(Buffer.from(packet.mac.replaceAll(':', ''), 'hex'), 28);
  writeText(head.subarray(44, 108), packet.serverName);
  writeText(head.subarray(108, 236), packet.file);
  head.writeUInt32BE(COOKIE, FIXED_BYTES);
  const options = writeOptions(packet.options);
  const padding = Buffer.alloc(Math.max(0, LEAST_BYTES - head.length - options.length));
  return Buffer.concat([head, options, padding]);
}

function addressAt(bytes: Buffer, at: number): string {
  return bytes.subarray(at, at + 4).join('.');
}

function macAt(bytes: Buffer, at: number): Mac {
  const hex = bytes.subarray(at, at + 6).toString('hex');
  return (hex.match(/../g) ?? []).join(':') as Mac;
}

function textOf(field: Buffer): string {
  return field.toString('latin1').split('\0')[0] ?? '';
}

function writeText(field: Buffer, text: string): void {
  if (text.length >= field.length) throw new RangeError(`"${text}" does not fit a DHCP field of ${field.length} octets`);
  field.write(text, 'latin1');
}

function bad(what: string): AppError {
  return new AppError('bad_packet', `not a DHCP packet: ${what}`);
}
