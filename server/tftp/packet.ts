import { AppError } from '../../core/errors.ts';

/** Opcodes of RFC 1350 §5 and RFC 2347. */
const OPCODE = { read: 1, write: 2, data: 3, ack: 4, error: 5, oack: 6 } as const;

/** Error codes of RFC 1350 (appendix) and RFC 2347. */
export const TFTP_ERROR = { undefined: 0, notFound: 1, denied: 2, illegal: 4, unknownTransfer: 5, options: 8 } as const;

/** Longer requests are nobody's: RFC 2347 §2 bounds them to one block of 512 octets. */
const MAX_REQUEST = 512;
const MAX_OPTIONS = 16;

export type ReadRequest = {
  readonly kind: 'read' | 'write';
  readonly file: string;
  /** Lower case. */
  readonly mode: string;
  /** Names in lower case, the first of a repeated one, values as sent. */
  readonly options: ReadonlyMap<string, string>;
};

export type TftpPacket =
  | ReadRequest
  | { readonly kind: 'data'; readonly block: number; readonly data: Uint8Array }
  | { readonly kind: 'ack'; readonly block: number }
  | { readonly kind: 'error'; readonly code: number; readonly message: string }
  | { readonly kind: 'oack'; readonly options: ReadonlyMap<string, string> };

/**
 * Reads one UDP payload. Mode and option names are matched without case; option values are limited by
 * `negotiate`. Throws `bad_packet` for another opcode, a missing NUL or octets that are missing.
 * Source: RFC 1350 §5, RFC 2347.
 */
export function decodePacket(bytes: Buffer): TftpPacket {
  if (bytes.length < 4) throw bad('shorter than any packet');
  const opcode = bytes.readUInt16BE(0);
  switch (opcode) {
    case OPCODE.read:
      return decodeRequest('read', bytes);
    case OPCODE.write:
      return decodeRequest('write', bytes);
    case OPCODE.data:
      return { kind: 'data', block: bytes.readUInt16BE(2), data: bytes.subarray(4) };
    case OPCODE.ack:
      return { kind: 'ack', block: bytes.readUInt16BE(2) };
    case OPCODE.error:
      return { kind: 'error', code: bytes.readUInt16BE(2), message: bytes.subarray(4).toString('latin1').split('\0')[0] ?? '' };
    case OPCODE.oack:
      return { kind: 'oack', options: pairs(strings(bytes.subarray(2))) };
    default:
      throw bad(`opcode ${opcode}`);
  }
}

function decodeRequest(kind: 'read' | 'write', bytes: Buffer): ReadRequest {
  if (bytes.length > MAX_REQUEST) throw bad(`a request of ${bytes.length} octets`);
  const [file, mode, ...options] = strings(bytes.subarray(2));
  if (file === undefined || mode === undefined) throw bad('a request without file and mode');
  return { kind, file, mode: mode.toLowerCase(), options: pairs(options) };
}

/** NUL-terminated strings. Octets behind the last NUL are padding of old PXE ROMs and are dropped, but one string must end. */
function strings(bytes: Buffer): string[] {
  const parts = bytes.toString('latin1').split('\0');
  parts.pop();
  return parts;
}

function pairs(list: readonly string[]): ReadonlyMap<string, string> {
  const options = new Map<string, string>();
  for (let index = 0; index + 1 < list.length && options.size < MAX_OPTIONS; index += 2) {
    const name = (list[index] as string).toLowerCase();
    if (!options.has(name)) options.set(name, list[index + 1] as string);
  }
  return options;
}

export function encodeData(block: number, data: Uint8Array): Buffer {
  const packet = Buffer.allocUnsafe(4 + data.length);
  packet.writeUInt16BE(OPCODE.data, 0);
  packet.writeUInt16BE(block & 0xffff, 2);
  packet.set(data, 4);
  return packet;
}

export function encodeAck(block: number): Buffer {
  const packet = Buffer.alloc(4);
  packet.writeUInt16BE(OPCODE.ack, 0);
  packet.writeUInt16BE(block & 0xffff, 2);
  return packet;
}

export function encodeError(code: number, message: string): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(OPCODE.error, 0);
  head.writeUInt16BE(code, 2);
  return Buffer.concat([head, Buffer.from(`${message}\0`, 'latin1')]);
}

export function encodeOack(options: ReadonlyMap<string, string>): Buffer {
  const text = [...options].map(([name, value]) => `${name}\0${value}\0`).join('');
  return Buffer.concat([Buffer.from([0, OPCODE.oack]), Buffer.from(text, 'latin1')]);
}

export function encodeRequest(request: ReadRequest): Buffer {
  const options = [...request.options].map(([name, value]) => `${name}\0${value}\0`).join('');
  const opcode = request.kind === 'read' ? OPCODE.read : OPCODE.write;
  return Buffer.concat([Buffer.from([0, opcode]), Buffer.from(`${request.file}\0${request.mode}\0${options}`, 'latin1')]);
}

function bad(what: string): AppError {
  return new AppError('bad_packet', `not a TFTP packet: ${what}`);
}
