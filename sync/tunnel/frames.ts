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
  /** Of one that is decoded: a piece of the payload, and how many octets of it are still to come. */
  | { readonly type: 'data'; readonly payload: Buffer; readonly left?: number }
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

/** Turns octets, cut anywhere, into frames. */
export type FrameDecoder = {
  /**
   * What these octets complete. DATA is not waited for: what there is of its payload is given at once, and is a part of `octets`.
   * Throws `bad_packet` for an unknown type or a length out of range: the peer is not one of ours.
   */
  push(octets: Buffer): readonly Frame[];
};

export function createFrameDecoder(): FrameDecoder {
  const header = Buffer.alloc(HEADER_BYTES);
  let held = 0;
  let left = 0;
  return {
    push(octets) {
      const frames: Frame[] = [];
      for (let at = 0; at < octets.length; ) {
        if (left > 0) {
          const payload = octets.subarray(at, at + left);
          at += payload.length;
          left -= payload.length;
          frames.push({ type: 'data', payload, left });
          continue;
        }
        header[held] = octets[at] ?? 0;
        at += 1;
        held += 1;
        if (held < headerBytes(header[0] ?? 0)) continue;
        held = 0;
        if (header[0] === DATA) left = checkSize(header.readUInt32BE(1), MAX_DATA_BYTES);
        else frames.push(shortFrame(header));
      }
      return frames;
    },
  };
}

function headerBytes(type: number): number {
  if (type === END) return 1;
  if (type === DATA || type === CREDIT || type === CAP) return HEADER_BYTES;
  throw new AppError('bad_packet', `the tunnel got a frame of unknown type ${type}`);
}

function shortFrame(octets: Buffer): Frame {
  if (octets[0] === END) return { type: 'end' };
  const value = octets.readUInt32BE(1);
  return octets[0] === CAP ? { type: 'cap', kbps: value } : { type: 'credit', bytes: checkSize(value, WINDOW_BYTES) };
}

function checkSize(size: number, limit: number): number {
  if (size < 1 || size > limit) throw new AppError('bad_packet', `the tunnel got a frame of ${size} bytes, the limit is ${limit}`);
  return size;
}
