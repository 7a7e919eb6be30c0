import { constants, type ZstdOptions, zstdCompress, zstdDecompress } from 'node:zlib';
import { AppError } from '../errors.ts';
import { MAX_WINDOW_LOG } from './limits.ts';

export type Compression = {
  readonly level: number;
  /** Octets that come before `raw` for whoever compresses and decompresses; at least 8, and not with zstd's dictionary magic in front. */
  readonly dictionary?: Buffer;
};

/**
 * A window for 4 MiB of dictionary and 2 MiB behind it, and tables that hold such a dictionary: half as many entries lose a
 * third of what is found, more find nothing more and only cost memory (about 30 MiB for one compression as it is).
 */
const DICTIONARY_PARAMETERS = {
  [constants.ZSTD_c_windowLog]: 23,
  [constants.ZSTD_c_hashLog]: 20,
  [constants.ZSTD_c_chainLog]: 20,
};

/** One zstd frame; the same input gives the same octets with the same zstd. On libuv's threads: several calls run beside each other. */
export function compress(raw: Buffer, { level, dictionary }: Compression): Promise<Buffer> {
  const params = { ...(dictionary ? DICTIONARY_PARAMETERS : {}), [constants.ZSTD_c_compressionLevel]: level };
  // Room for the worst case (ZSTD_compressBound): zstd then compresses straight into it, in one step on one thread.
  const options: ZstdOptions = { chunkSize: raw.length + (raw.length >> 8) + 64, params, ...(dictionary ? { dictionary } : {}) };
  return new Promise((resolve, reject) => {
    zstdCompress(raw, options, (error, result) => (error ? reject(error) : resolve(result)));
  });
}

/** What a zstd frame holds, at most `rawBytes` of it. Throws `bad_data`, also for a window above 2^24. */
export function decompress(payload: Buffer, rawBytes: number, dictionary?: Buffer): Promise<Buffer> {
  // A few octets may announce a window of 128 MiB, and zstd would make room for it.
  const params = { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG };
  const options: ZstdOptions = {
    // One octet more than needed: with none left, zlib makes a second buffer of the same size to look for more.
    chunkSize: Math.max(rawBytes + 1, 64),
    maxOutputLength: rawBytes,
    params,
    ...(dictionary ? { dictionary } : {}),
  };
  return new Promise((resolve, reject) => {
    zstdDecompress(payload, options, (error, result) => {
      if (error) reject(new AppError('bad_data', `a frame does not decompress: ${error.message}`, { cause: error }));
      else resolve(result);
    });
  });
}
