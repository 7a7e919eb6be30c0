import { AppError } from '../errors.ts';
import { checkFramePayload, FRAME_PREFIX_BYTES, type FrameHeader, frameHeaderBytes, parseFrameHeader } from './frame.ts';

/** A frame as it lies: its parsed header, its checked payload, and all its octets. */
export type Frame = { readonly header: FrameHeader; readonly payload: Buffer; readonly octets: Buffer };

/** Turns octets, split anyhow, into frames. Never holds more than one frame. */
export type FrameParser = {
  /**
   * Frames completed by these octets, header and payload checked. The octets are copied: each frame has memory of its own, for
   * whoever takes it to give back. Throws `bad_data`.
   */
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

export function createFrameParser(options: FrameReading = {}): FrameParser {
  // The frame that is gathered: as much room as is known to be needed, for the prefix first, the header, then all of it.
  let room = Buffer.allocUnsafeSlow(FRAME_PREFIX_BYTES);
  let held = 0;
  let header: FrameHeader | undefined;

  function grow(bytes: number): void {
    const larger = Buffer.allocUnsafeSlow(bytes);
    room.copy(larger, 0, 0, held);
    room = larger;
  }

  /** The frame, once the room is full of all of it. */
  function advance(): Frame | undefined {
    if (header === undefined) {
      const headerBytes = frameHeaderBytes(room);
      if (held < headerBytes) {
        grow(headerBytes);
        return undefined;
      }
      header = parseFrameHeader(room);
      grow(header.headerBytes + header.payloadBytes);
      return undefined;
    }
    const frame = frameOf(header, room, options);
    room = Buffer.allocUnsafeSlow(FRAME_PREFIX_BYTES);
    held = 0;
    header = undefined;
    return frame;
  }

  return {
    push(octets) {
      const frames: Frame[] = [];
      for (let at = 0; at < octets.length; ) {
        const taken = Math.min(room.length - held, octets.length - at);
        room.set(octets.subarray(at, at + taken), held);
        held += taken;
        at += taken;
        if (held < room.length) break;
        const frame = advance();
        if (frame) frames.push(frame);
      }
      return frames;
    },
    finish() {
      if (held > 0) throw new AppError('bad_data', `the frames end in the middle of one (${held} octets left)`);
    },
  };
}

/** One whole frame, header and payload checked. Throws `bad_data`. */
export function parseFrame(octets: Buffer, options: FrameReading = {}): Frame {
  return frameOf(parseFrameHeader(octets), octets, options);
}

function frameOf(header: FrameHeader, octets: Buffer, { isPayloadChecked = true }: FrameReading): Frame {
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
