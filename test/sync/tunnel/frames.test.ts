import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AppError } from '../../../core/errors.ts';
import { decodeFrames, encodeFrame, type Frame, MAX_DATA_BYTES, WINDOW_BYTES } from '../../../sync/tunnel/frames.ts';

const frame: fc.Arbitrary<Frame> = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 300 }).map((octets) => ({ type: 'data' as const, payload: Buffer.from(octets) })),
  fc.integer({ min: 1, max: WINDOW_BYTES }).map((bytes) => ({ type: 'credit' as const, bytes })),
  fc.constant({ type: 'end' as const }),
  fc.integer({ min: 0, max: 2 ** 32 - 1 }).map((kbps) => ({ type: 'cap' as const, kbps })),
);

test('frames come out as they went in, wherever the link cuts the stream', () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 20 }), fc.integer({ min: 1, max: 400 }), (frames, cut) => {
      const octets = Buffer.concat(frames.map(encodeFrame));
      const seen: Frame[] = [];
      let rest: Buffer = Buffer.alloc(0);
      for (let at = 0; at < octets.length; at += cut) {
        const decoded = decodeFrames(Buffer.concat([rest, octets.subarray(at, at + cut)]));
        seen.push(...decoded.frames);
        rest = Buffer.from(decoded.rest);
      }
      assert.equal(rest.length, 0);
      assert.deepEqual(seen, frames);
    }),
  );
});

test('any octets give frames or bad_packet, never something else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (octets) => {
      try {
        decodeFrames(Buffer.from(octets));
      } catch (error) {
        assert.ok(error instanceof AppError && error.code === 'bad_packet');
      }
    }),
  );
});

test('a frame larger than the limit is refused before it is waited for', () => {
  const header = Buffer.from([1, 0, 0, 0, 0]);
  header.writeUInt32BE(MAX_DATA_BYTES + 1, 1);
  assert.throws(() => decodeFrames(header), { code: 'bad_packet' });
});
