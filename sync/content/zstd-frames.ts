import { AppError } from '../../core/errors.ts';

/*
 * Node's zstd decoder stops at the end of the first frame and drops the rest without a word, and a .zst
 * file may hold many (pzstd, cat a.zst b.zst). So the frames are told apart here, by their block headers.
 * Source: RFC 8878 §3.1.1 (frames), §3.1.2 (skippable frames).
 */
const FRAME = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;

/** Takes octets off the front of a stream. */
export type Intake = {
  /** The next `length` octets. Throws `bad_data` when the stream ends before. */
  take(length: number): Promise<Buffer>;
  isAtEnd(): Promise<boolean>;
};

export function createIntake(source: AsyncIterable<Buffer>): Intake {
  const iterator = source[Symbol.asyncIterator]();
  let held: Buffer = Buffer.alloc(0);
  async function more(): Promise<boolean> {
    const next = await iterator.next();
    if (next.done) return false;
    held = held.length === 0 ? next.value : Buffer.concat([held, next.value]);
    return true;
  }
  return {
    async take(length) {
      while (held.length < length) if (!(await more())) throw cutShort();
      const octets = held.subarray(0, length);
      held = held.subarray(length);
      return octets;
    },
    async isAtEnd() {
      while (held.length === 0) if (!(await more())) return true;
      return false;
    },
  };
}

/** The next zstd frame, block by block; undefined at the end. Throws `bad_data` when what follows is no frame or cut short. */
export async function nextZstdFrame(intake: Intake): Promise<AsyncGenerator<Buffer> | undefined> {
  while (!(await intake.isAtEnd())) {
    const magic = await intake.take(4);
    const number = magic.readUInt32LE(0);
    if (number === FRAME) return readBlocks(magic, intake);
    if ((number & 0xfffffff0) >>> 0 !== SKIPPABLE) throw new AppError('bad_data', 'the .zst file has foreign octets behind its last frame');
    await skip(intake);
  }
  return undefined;
}

async function* readBlocks(magic: Buffer, intake: Intake): AsyncGenerator<Buffer> {
  const descriptor = (await intake.take(1))[0] ?? 0;
  yield Buffer.concat([magic, Buffer.from([descriptor]), await intake.take(headerRest(descriptor))]);
  for (let isLast = false; !isLast; ) {
    const head = await intake.take(3);
    const bits = head.readUIntLE(0, 3);
    isLast = (bits & 1) === 1;
    const isRunLength = ((bits >> 1) & 3) === 1;
    yield Buffer.concat([head, await intake.take(isRunLength ? 1 : bits >> 3)]);
  }
  if ((descriptor & 0x04) !== 0) yield Buffer.from(await intake.take(4));
}

/** Octets of the frame header behind its descriptor: window, dictionary id, content size. */
function headerRest(descriptor: number): number {
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const dictionaryId = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const sizeFlag = descriptor >> 6;
  const contentSize = [isSingleSegment ? 1 : 0, 2, 4, 8][sizeFlag] ?? 0;
  return (isSingleSegment ? 0 : 1) + dictionaryId + contentSize;
}

async function skip(intake: Intake): Promise<void> {
  let left = (await intake.take(4)).readUInt32LE(0);
  while (left > 0) left -= (await intake.take(Math.min(left, 65_536))).length;
}

export function cutShort(): AppError {
  return new AppError('bad_data', 'the compressed image is cut off', { hint: 'copy the file again from where it came' });
}
