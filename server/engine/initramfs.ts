import { promisify } from 'node:util';
import { constants, zstdCompress } from 'node:zlib';
import { type CpioEntry, encodeCpio } from './cpio.ts';

const compress = promisify(zstdCompress);

/** Level 19 saves 8 % of the engine and takes ten times as long. */
const LEVEL = 12;

/** An initramfs as the kernel takes it: newc archive in one zstd frame with a checksum of its content. */
export async function encodeInitramfs(entries: readonly CpioEntry[], level = LEVEL): Promise<Buffer> {
  const params = { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 };
  return await compress(encodeCpio(entries), { params });
}

/** Before anything is mounted the kernel opens /dev/console for init; these need no rights to put into an archive. */
export const FIRST_DEVICES: readonly CpioEntry[] = [
  { kind: 'directory', path: 'dev', mode: 0o755 },
  { kind: 'device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
  { kind: 'device', path: 'dev/null', mode: 0o666, major: 1, minor: 3 },
  { kind: 'directory', path: 'proc', mode: 0o555 },
  { kind: 'directory', path: 'sys', mode: 0o555 },
  { kind: 'directory', path: 'run', mode: 0o755 },
  { kind: 'directory', path: 'tmp', mode: 0o1777 },
];
