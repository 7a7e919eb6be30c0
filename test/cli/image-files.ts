import { execFileSync } from 'node:child_process';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';

const MIB = 1 << 20;

/** A raw disk of 16 MiB: an MBR with one partition, 6 MiB of data from `seed` that does not compress, zeros. */
export function rawDisk(seed: number): Buffer {
  const disk = Buffer.alloc(16 * MIB);
  disk[446 + 4] = 0x83;
  disk.writeUInt32LE(2048, 446 + 8);
  disk.writeUInt32LE((15 * MIB) / 512, 446 + 12);
  disk.writeUInt16LE(0xaa55, 510);
  let state = seed >>> 0 || 1;
  for (let offset = MIB; offset < 7 * MIB; offset += 4) {
    // xorshift32: seeded, so that a failure can be made again
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    disk.writeInt32LE(state, offset);
  }
  return disk;
}

/** The disk in every form that import takes, and files that it must refuse. */
export function writeImageFiles(directory: string): { good: Record<string, string>; bad: Record<string, string>; disk: Buffer } {
  const disk = rawDisk(20261120);
  const at = (name: string, bytes: Uint8Array | string): string => {
    writeFileSync(join(directory, name), bytes);
    return join(directory, name);
  };
  const raw = at('disk.raw', disk);
  // With a checksum, as the zstd program writes it: without one, damage to octets that do not compress cannot be seen.
  const [gz, zst] = [gzipSync(disk, { level: 1 }), zstdCompressSync(disk, { params: { [constants.ZSTD_c_checksumFlag]: 1 } })];
  const qcow2 = join(directory, 'disk.qcow2');
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2]);
  const backed = join(directory, 'backed.qcow2');
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', qcow2, '-F', 'qcow2', backed]);
  return {
    disk,
    good: { raw, gz: at('disk.raw.gz', gz), zst: at('disk.raw.zst', zst), qcow2 },
    bad: {
      'a text': at('readme.txt', 'This is no disk.\n'.repeat(1000)),
      'an empty file': at('empty.raw', ''),
      'a directory': directory,
      'a truncated .gz': at('cut.raw.gz', gz.subarray(0, gz.length - 200_000)),
      'a truncated .zst': at('cut.raw.zst', zst.subarray(0, zst.length - 200_000)),
      'a damaged .zst': at('bad.raw.zst', damaged(zst)),
      'a backing file': backed,
    },
  };
}

function damaged(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy.fill(0x55, copy.length >> 1, (copy.length >> 1) + 64);
  return copy;
}

/** Names and sizes of the files under a directory, SQLite's working files left out. */
export function listTree(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(join(directory, name)).isFile() && !/\.sqlite(-wal|-shm)?$/.test(name))
    .map((name) => `${name} ${statSync(join(directory, name)).size}`)
    .sort();
}
