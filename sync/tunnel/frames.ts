import { AppError } from '../../core/errors.ts';

/**
 * The tunnel's frames, inside TLS after the upgrade. One octet of type, then:
 *
 *   DATA    1  uint32 BE length (1 … MAX_DATA_BYTES), payload
 *   CREDIT  2  uint32 BE n: the receiver has handed n more octets of payload to its rsync
 *   END     3  nothing: no more DATA will come this way
 *   CAP     4  uint32 BE kbit/s, 0 for none: how fast the child wants its DATA from now on; only to a parent with the ability `caps`
 */
export const MAX_DATA_BYTES = 65_536;

/**
 * How many octets of DATA may be under way without CREDIT, each way. A kill loses at most this and what rsync
 * itself buffers before it writes (256 KiB): together one frame of the store.
 */
export const WINDOW_BYTES = 768 * 1024;

/** What a tunnel that is opened before its turn may have under way until then: enough for rsync's greetings and its list of one file. */
export const WAITING_BYTES = 4096;

export type Frame =
  | { readonly type: 'data'; readonly payload: Buffer }
  | { readonly type: 'credit'; readonly bytes: number }
  | { readonly type: 'end' }
  | { readonly type: 'cap'; readonly kbps: number };

const DATA = 1;
const CREDIT = 2;
const END = 3;
const CAP = 4;
const HEADER_BYTES = 5;

export function encodeFrame(frame: Frame): Buffer {
  switch (frame.type) {
    case 'end':
      return Buffer.from([END]);
    case 'data':
      return Buffer.concat([header(DATA, frame.payload.length), frame.payload]);
    case 'credit':
      return header(CREDIT, frame.bytes);
    case 'cap':
      return header(CAP, frame.kbps);
  }
}

function header(type: number, value: number): Buffer {
  const octets = Buffer.alloc(HEADER_BYTES);
  octets[0] = type;
  octets.writeUInt32BE(value, 1);
  return octets;
}

/**
 * Takes whole frames from the front of `octets`; `rest` is what is left for the next read (less than one frame).
 * Throws `bad_packet` for an unknown type or a length out of range: the peer is not one of ours.
 */
export function decodeFrames(octets: Buffer): { readonly frames: readonly Frame[]; readonly rest: Buffer } {
  const frames: Frame[] = [];
  let at = 0;
  for (;;) {
    const taken = decodeFrame(octets.subarray(at));
    if (taken === undefined) return { frames, rest: octets.subarray(at) };
    frames.push(taken.frame);
    at += taken.bytes;
  }
}

function decodeFrame(octets: Buffer): { frame: Frame; bytes: number } | undefined {
  const type = octets[0];
  if (type === undefined) return undefined;
  if (type === END) return { frame: { type: 'end' }, bytes: 1 };
  if (type !== DATA && type !== CREDIT && type !== CAP) throw new AppError('bad_packet', `the tunnel got a frame of unknown type ${type}`);
  if (octets.length < HEADER_BYTES) return undefined;
  const size = octets.readUInt32BE(1);
  if (type === CAP) return { frame: { type: 'cap', kbps: size }, bytes: HEADER_BYTES };
  if (type === CREDIT) return { frame: { type: 'credit', bytes: checkSize(size, WINDOW_BYTES) }, bytes: HEADER_BYTES };
  const end = HEADER_BYTES + checkSize(size, MAX_DATA_BYTES);
  return octets.length < end ? undefined : { frame: { type: 'data', payload: octets.subarray(HEADER_BYTES, end) }, bytes: end };
}

function checkSize(size: number, limit: number): number {
  if (size < 1 || size > limit) throw new AppError('bad_packet', `the tunnel got a frame of ${size} bytes, the limit is ${limit}`);
  return size;
}
