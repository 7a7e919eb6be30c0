import { createReadStream } from 'node:fs';
import { pipeline, Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { AppError } from '../../core/errors.ts';
import { createIntake, cutShort, nextZstdFrame } from './zstd-frames.ts';

const SLICE_BYTES = 256 * 1024;

/**
 * The content of a .gz or .zst file (also of several frames or members behind each other) as a stream.
 * `onRead` counts compressed octets. Errors: `bad_data` for a file that is cut off or damaged.
 */
export async function* decompressFile(path: string, kind: 'gz' | 'zst', onRead: (bytes: number) => void): AsyncGenerator<Buffer> {
  try {
    yield* kind === 'gz' ? gunzip(countedFile(path, onRead)) : unzstd(countedFile(path, onRead));
  } catch (error) {
    throw asBadData(error);
  }
}

async function* countedFile(path: string, onRead: (bytes: number) => void): AsyncGenerator<Buffer> {
  for await (const slice of createReadStream(path, { highWaterMark: SLICE_BYTES }) as AsyncIterable<Buffer>) {
    onRead(slice.length);
    yield slice;
  }
}

async function* gunzip(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield* through(source, createGunzip({ chunkSize: SLICE_BYTES }));
}

async function* unzstd(source: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  const intake = createIntake(source);
  try {
    for (let frame = await nextZstdFrame(intake); frame !== undefined; frame = await nextZstdFrame(intake)) {
      yield* through(frame, createZstdDecompress({ chunkSize: SLICE_BYTES }));
    }
  } finally {
    // The intake takes octets by hand, so nobody else closes the file of an import that ends early.
    await source.return(undefined);
  }
}

async function* through(source: AsyncIterable<Buffer>, decoder: NodeJS.ReadWriteStream): AsyncGenerator<Buffer> {
  // A failure of either side reaches whoever reads the decoder, so the callback has nothing left to do.
  const output = pipeline(Readable.from(source), decoder, () => undefined);
  for await (const slice of output as unknown as AsyncIterable<Buffer>) yield slice;
}

function asBadData(error: unknown): unknown {
  const { code, message } = error as { code?: string; message: string };
  if (code === 'Z_BUF_ERROR') return cutShort();
  const isZlib = code !== undefined && (code.startsWith('Z_') || code.startsWith('ZSTD_'));
  if (!isZlib) return error;
  return new AppError('bad_data', `the compressed image is damaged: ${message}`, {
    hint: 'copy the file again from where it came',
    cause: error,
  });
}
