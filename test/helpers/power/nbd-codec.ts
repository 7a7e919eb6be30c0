/**
 * The network block device's messages, as far as QEMU as the client needs them: the fixed newstyle handshake without
 * TLS, one export, simple replies. Source: doc/proto.md of the NetworkBlockDevice project.
 */
const OPTION_MAGIC = 0x49484156454f5054n;
const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;
const REQUEST_MAGIC = 0x25609513;
const REPLY_MAGIC = 0x67446698;
const FIXED_NEWSTYLE = 1;
const NO_ZEROES = 2;

export const OPTION = { exportName: 1, abort: 2, info: 6, go: 7 } as const;
export const OPTION_REPLY = { acknowledged: 1, info: 3, unsupported: 0x80000001 } as const;
export const COMMAND = { read: 0, write: 1, disconnect: 2, flush: 3 } as const;
export const FORCE_UNIT_ACCESS = 1;

/** The export has flags, can be flushed, and takes single writes through. */
const EXPORT_FLAGS = 1 | 4 | 8;

export const CLIENT_FLAGS_BYTES = 4;
export const OPTION_HEADER_BYTES = 16;
export const REQUEST_HEADER_BYTES = 28;

export type Option = { readonly option: number; readonly length: number };
export type Request = {
  readonly flags: number;
  readonly command: number;
  readonly handle: bigint;
  readonly offset: number;
  readonly length: number;
};

export function encodeGreeting(): Buffer {
  const greeting = Buffer.alloc(18);
  greeting.write('NBDMAGIC');
  greeting.writeBigUInt64BE(OPTION_MAGIC, 8);
  greeting.writeUInt16BE(FIXED_NEWSTYLE | NO_ZEROES, 16);
  return greeting;
}

/** Throws for another magic number: then we are out of step and nothing that follows has a meaning. */
export function decodeOption(header: Buffer): Option {
  if (header.readBigUInt64BE(0) !== OPTION_MAGIC) throw new Error('nbd: an option without its magic number');
  return { option: header.readUInt32BE(8), length: header.readUInt32BE(12) };
}

export function encodeOptionReply(option: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(20);
  header.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0);
  header.writeUInt32BE(option, 8);
  header.writeUInt32BE(type, 12);
  header.writeUInt32BE(data.length, 16);
  return Buffer.concat([header, data]);
}

/** Size and flags, as the old way to ask for an export gets them. */
export function encodeExport(sizeBytes: number): Buffer {
  const data = Buffer.alloc(10);
  data.writeBigUInt64BE(BigInt(sizeBytes), 0);
  data.writeUInt16BE(EXPORT_FLAGS, 8);
  return data;
}

/** The same as an information reply. */
export function encodeExportInfo(sizeBytes: number): Buffer {
  return Buffer.concat([Buffer.alloc(2), encodeExport(sizeBytes)]);
}

/** Throws for another magic number. */
export function decodeRequest(header: Buffer): Request {
  if (header.readUInt32BE(0) !== REQUEST_MAGIC) throw new Error('nbd: a request without its magic number');
  return {
    flags: header.readUInt16BE(4),
    command: header.readUInt16BE(6),
    handle: header.readBigUInt64BE(8),
    offset: Number(header.readBigUInt64BE(16)),
    length: header.readUInt32BE(24),
  };
}

/** `error` is an errno of Linux, 0 for none. */
export function encodeReply(handle: bigint, error: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32BE(REPLY_MAGIC, 0);
  header.writeUInt32BE(error, 4);
  header.writeBigUInt64BE(handle, 8);
  return Buffer.concat([header, data]);
}
