import { AppError } from '../errors.ts';
import { checkFramePayload, FRAME_PREFIX_BYTES, type FrameHeader, frameHeaderBytes, parseFrameHeader } from './frame.ts';

/** A frame as it lies: its parsed header, its checked payload, and all its octets. */
export type Frame = { readonly header: FrameHeader; readonly payload: Buffer; readonly octets: Buffer };

/** Turns octets, split anyhow, into frames. Never holds more than one frame and the slice that was pushed. */
export type FrameParser = {
  /** Frames completed by these octets, header and payload checked. Throws `bad_data`. */
  push(octets: Uint8Array): Frame[];
  /** Throws `bad_data` when the last frame is not whole. */
  finish(): void;
};

export type FrameReading = {
  /**
   * False for a reader that decodes every frame at once and hashes each chunk (decodeFrame does): the payload's own
   * SHA-256 then proves nothing more, and on a slow machine costs a third of the time.
   */
  readonly isPayloadChecked?: boolean;
};

const MAX_PIECES = 256;

export function createFrameParser(options: FrameReading = {}): FrameParser {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let needed = FRAME_PREFIX_BYTES;

  function push(octets: Uint8Array): Frame[] {
    held.push(Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength));
    heldBytes += octets.byteLength;
    // Octet by octet, the pieces would weigh more than what they hold.
    if (held.length >= MAX_PIECES) held = [Buffer.concat(held, heldBytes)];
    const frames: Frame[] = [];
    while (heldBytes >= needed) {
      const all = held.length === 1 && held[0] ? held[0] : Buffer.concat(held, heldBytes);
      const size = frameSize(all);
      needed = size.bytes;
      held = [all];
      if (!size.isWhole || all.length < size.bytes) continue;
      frames.push(parseFrame(all.subarray(0, size.bytes), options));
      held = [all.subarray(size.bytes)];
      heldBytes -= size.bytes;
      needed = FRAME_PREFIX_BYTES;
    }
    return frames;
  }

  return {
    push,
    finish() {
      if (heldBytes > 0) throw new AppError('bad_data', `the frames end in the middle of one (${heldBytes} octets left)`);
    },
  };
}

/** Octets of the frame that begins here, as far as can be told: up to its header first, then all of it. */
function frameSize(octets: Buffer): { bytes: number; isWhole: boolean } {
  const headerBytes = frameHeaderBytes(octets);
  if (octets.length < headerBytes) return { bytes: headerBytes, isWhole: false };
  return { bytes: headerBytes + parseFrameHeader(octets).payloadBytes, isWhole: true };
}

/** One whole frame, header and payload checked. Throws `bad_data`. */
export function parseFrame(octets: Buffer, { isPayloadChecked = true }: FrameReading = {}): Frame {
  const header = parseFrameHeader(octets);
  const payload = octets.subarray(header.headerBytes);
  if (isPayloadChecked) checkFramePayload(header, payload);
  return { header, payload, octets };
}

/** Frames of a stream, each checked before it is given. Throws `bad_data`, also when the stream ends inside a frame. */
export async function* readFrames(source: AsyncIterable<Uint8Array>, options: FrameReading = {}): AsyncGenerator<Frame> {
  const parser = createFrameParser(options);
  for await (const octets of source) yield* parser.push(octets);
  parser.finish();
}
