import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AppError } from '../../../core/errors.ts';
import { createFrameDecoder, encodeFrame, type Frame, MAX_DATA_BYTES, WINDOW_BYTES } from '../../../sync/tunnel/frames.ts';

const frame: fc.Arbitrary<Frame> = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 300 }).map((octets) => ({ type: 'data' as const, payload: Buffer.from(octets) })),
  fc.integer({ min: 1, max: WINDOW_BYTES }).map((bytes) => ({ type: 'credit' as const, bytes })),
  fc.constant({ type: 'end' as const }),
  fc.integer({ min: 0, max: 2 ** 32 - 1 }).map((kbps) => ({ type: 'cap' as const, kbps })),
);

/** Pieces of one payload are put together, and tell how much is still to come. */
function joined(frames: readonly Frame[]): Frame[] {
  const whole: Frame[] = [];
  let pieces: Buffer[] = [];
  let expected: number | undefined;
  for (const frame of frames) {
    if (frame.type !== 'data') {
      whole.push(frame);
      continue;
    }
    if (expected !== undefined) assert.equal(frame.payload.length + (frame.left ?? 0), expected);
    pieces.push(frame.payload);
    expected = frame.left;
    if (frame.left !== 0) continue;
    whole.push({ type: 'data', payload: Buffer.concat(pieces) });
    [pieces, expected] = [[], undefined];
  }
  return whole;
}

test('frames come out as they went in, wherever the link cuts the stream', () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 20 }), fc.integer({ min: 1, max: 400 }), (frames, cut) => {
      const octets = Buffer.concat(frames.map(encodeFrame));
      const seen: Frame[] = [];
      const decoder = createFrameDecoder();
      for (let at = 0; at < octets.length; at += cut) seen.push(...decoder.push(octets.subarray(at, at + cut)));
      assert.deepEqual(joined(seen), frames);
    }),
  );
});

test('any octets give frames or bad_packet, never something else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (octets) => {
      try {
        createFrameDecoder().push(Buffer.from(octets));
      } catch (error) {
        assert.ok(error instanceof AppError && error.code === 'bad_packet');
      }
    }),
  );
});

test('a frame larger than the limit is refused before it is waited for', () => {
  const header = Buffer.from([1, 0, 0, 0, 0]);
  header.writeUInt32BE(MAX_DATA_BYTES + 1, 1);
  assert.throws(() => createFrameDecoder().push(header), { code: 'bad_packet' });
});
