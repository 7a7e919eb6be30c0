import { AppError } from '../../core/errors.ts';

/** DHCP options by number; an option that came in pieces is put together (RFC 3396). */
export type DhcpOptions = ReadonlyMap<number, Buffer>;

/** RFC 2132, 3046, 4578, 3004, 5071; 175 is iPXE's own. */
export const OPTION = {
  vendor: 43,
  overload: 52,
  messageType: 53,
  serverId: 54,
  parameters: 55,
  vendorClass: 60,
  clientId: 61,
  tftpServerName: 66,
  bootFile: 67,
  userClass: 77,
  relayAgent: 82,
  clientArch: 93,
  clientInterface: 94,
  clientUuid: 97,
  etherboot: 175,
} as const;

const PAD = 0;
const END = 255;

/**
 * Reads one field of options: `tag length value`, pads skipped, up to the end mark or the end of the
 * field. Pieces are appended to what `into` holds. Throws `bad_packet` when a value is longer than the field.
 * Source: RFC 2132 §2, RFC 3396 §5.
 */
export function readOptions(field: Buffer, into: Map<number, Buffer>): void {
  let at = 0;
  while (at < field.length) {
    const tag = field[at] as number;
    at += 1;
    if (tag === END) return;
    if (tag === PAD) continue;
    const length = field[at];
    if (length === undefined || at + 1 + length > field.length)
      throw new AppError('bad_packet', `DHCP option ${tag} is longer than the packet`);
    const value = field.subarray(at + 1, at + 1 + length);
    const before = into.get(tag);
    into.set(tag, before === undefined ? value : Buffer.concat([before, value]));
    at += 1 + length;
  }
}

/** Writes options in the order given, values over 255 octets in pieces, and the end mark. */
export function writeOptions(options: DhcpOptions): Buffer {
  const parts: Buffer[] = [];
  for (const [tag, value] of options) {
    let rest = value;
    do {
      const piece = rest.subarray(0, 255);
      parts.push(Buffer.from([tag, piece.length]), piece);
      rest = rest.subarray(255);
    } while (rest.length > 0);
  }
  parts.push(Buffer.from([END]));
  return Buffer.concat(parts);
}
