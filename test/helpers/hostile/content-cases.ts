import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { open, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { zstdCompressSync } from 'node:zlib';
import type { Json } from '../../../core/canonical-json.ts';
import { chunkDigest } from '../../../core/content/frame.ts';
import { MAX_PART_BYTES } from '../../../core/content/limits.ts';
import type { ArchivePlan } from '../../../core/sync-protocol.ts';
import { MAX_DATA_BYTES, WINDOW_BYTES } from '../../../sync/tunnel/frames.ts';
import { forgedObject, resigned, withBody } from './forge.ts';
import { forgedFrame, frameOf, partOf, servesPart } from './forged-part.ts';
import type { Lies } from './lying-parent.ts';
import { otherFiles, says } from './rsync-endpoint.ts';
import type { HostileCase, World } from './world.ts';

const MIB = 1_048_576;
const first = (plan: ArchivePlan) => {
  const [part] = plan.parts;
  assert.ok(part);
  return part;
};
const changesPart = (change: (part: ArchivePlan['parts'][number]) => object): Lies => ({
  plan: (honest) => ({ ...honest, parts: [{ ...first(honest), ...change(first(honest)) }] }),
});
/** Makes another file of the part before it is served. */
const spoils = (spoil: (path: string) => Promise<unknown>): Lies => ({
  parts: async (directory, plan) => void (await spoil(join(directory, first(plan).name))),
});
const manyParts = (count: number): Lies => ({
  plan: (honest) => {
    const part = (n: number) => ({ name: n.toString(16).padStart(64, '0'), sizeBytes: MAX_PART_BYTES, rawBytes: 1, frames: 1 });
    return { ...honest, parts: Array.from({ length: count }, (_, n) => part(n)) };
  },
});
/** Tells `base` again, which the branch holds, as another image. */
const retells = (world: World, change: Record<string, Json>): Lies => ({
  catalogue: (honest) => {
    const { id, origin, state, storedBytes, verifiedAt, ...body } = world.base;
    void [id, origin, state, storedBytes, verifiedAt];
    const object = forgedObject(world.hq, {
      kind: 'image',
      body: { ...(body as unknown as Record<string, Json>), name: 'again', ...change },
    });
    return resigned(world.hq, honest, { objects: [object] });
  },
});

const PLANS: readonly HostileCase[] = [
  { name: 'a plan whose key is a path', code: 'version_mismatch', lies: () => ({ plan: (honest) => ({ ...honest, key: '../../keys' }) }) },
  { name: 'a part whose name is a path', code: 'version_mismatch', lies: () => changesPart(() => ({ name: '../../../etc/passwd' })) },
  { name: 'a part larger than parts may be', code: 'bad_data', lies: () => changesPart(() => ({ sizeBytes: MAX_PART_BYTES + 1 })) },
  {
    name: 'a part named twice',
    code: 'bad_data',
    lies: () => ({ plan: (honest) => ({ ...honest, parts: [first(honest), first(honest)] }) }),
  },
  { name: 'a plan of a hundred thousand parts', code: 'bad_data', lies: () => manyParts(100_000) },
  {
    name: 'an archive larger than the disk',
    code: 'disk_full',
    lies: () => manyParts(10_000),
    check: (_, ended) => assert.equal(ended.bytesRsync, 0),
  },
  { name: 'an archive without parts, again and again', code: 'mismatch', lies: () => ({ plan: (honest) => ({ ...honest, parts: [] }) }) },
  {
    name: 'an archive that is gone whenever it is fetched',
    code: 'mismatch',
    lies: () => ({ refuse: { status: 404, code: 'not_found' } }),
  },
];

const FILES: readonly HostileCase[] = [
  {
    name: "other octets under the part's name",
    code: 'mismatch',
    lies: () => spoils(async (path) => writeFile(path, randomBytes((await readFile(path)).length))),
  },
  { name: 'a part that is cut off', code: 'unreachable', lies: () => spoils((path) => truncate(path, 100_000)) },
  {
    name: 'a part with octets behind its end',
    code: 'bad_data',
    lies: () => spoils(async (path) => writeFile(path, Buffer.alloc(200_000, 1), { flag: 'a' })),
  },
  {
    name: 'a part of a terabyte behind a declared size of a megabyte',
    code: 'bad_data',
    lies: () =>
      spoils(async (path) => {
        const file = await open(path, 'r+');
        await file.truncate(2 ** 40);
        await file.close();
      }),
  },
  {
    name: 'a symbolic link instead of the part',
    code: 'unreachable',
    lies: () =>
      spoils(async (path) => {
        await rm(path);
        await symlink('/etc/passwd', path);
      }),
  },
  {
    name: 'another file than the one asked for',
    code: 'bad_data',
    lies: () => ({
      endpoint: async (directory) => {
        await writeFile(join(directory, '.bashrc'), 'echo owned');
        return otherFiles(directory, ['.bashrc']);
      },
    }),
  },
  {
    name: 'a whole tree of files instead of one',
    code: 'bad_data',
    lies: () => ({
      endpoint: async (directory, plan) => {
        for (let n = 0; n < 50; n += 1) await writeFile(join(directory, `file-${n}`), 'x');
        return otherFiles(directory, [first(plan).name, ...Array.from({ length: 50 }, (_, n) => `file-${n}`)]);
      },
    }),
  },
  { name: 'a daemon that refuses', code: 'version_mismatch', lies: () => ({ endpoint: () => says('@RSYNCD: 31.0\n@ERROR: no\n') }) },
  { name: 'a daemon that speaks no rsync', code: 'version_mismatch', lies: () => ({ endpoint: () => says('220 ready\r\n') }) },
  {
    name: 'a greeting without end',
    code: 'bad_data',
    lies: () => ({
      endpoint: () =>
        says('@RSYNCD: 31.0 md5\n', (output) => {
          const more = () => {
            while (!output.destroyed && output.write(Buffer.alloc(65_536, 'hello\n')));
          };
          output.on('drain', more);
          more();
        }),
    }),
  },
];

const noise = randomBytes(50_000);
const FORMATS: readonly HostileCase[] = [
  { name: 'a part that is noise', code: 'bad_data', lies: () => servesPart(noise) },
  {
    name: 'a part of another format',
    code: 'version_mismatch',
    lies: () => {
      const octets = partOf([]) as Buffer;
      octets[7] = 9;
      return servesPart(Buffer.concat([octets, noise]));
    },
  },
];

/** Parts whose making waits for a compressor. */
async function framedCases(): Promise<readonly HostileCase[]> {
  const frame = await frameOf(noise);
  const digest = chunkDigest(noise);
  const bomb = zstdCompressSync(Buffer.alloc(64 * MIB));
  const wide = { encoding: 0, digest, rawBytes: noise.length, payload: noise };
  return [
    { name: 'a part that declares more frames than it holds', code: 'bad_data', lies: () => servesPart(partOf([frame], { frames: 2 })) },
    {
      name: 'a part that declares fewer octets than it holds',
      code: 'bad_data',
      lies: () => servesPart(partOf([frame], { rawBytes: 10 })),
    },
    {
      name: 'a part whose last frame is cut off',
      code: 'bad_data',
      lies: () => servesPart(partOf([frame, frame.subarray(0, frame.length - 100)], { frames: 2 })),
    },
    {
      name: 'a part with octets between frames and trailer',
      code: 'bad_data',
      lies: () => servesPart(partOf([frame, Buffer.alloc(64)], { frames: 1, rawBytes: noise.length })),
    },
    {
      name: 'a chunk under the digest of another',
      code: 'bad_data',
      lies: () => servesPart(partOf([forgedFrame({ ...wide, digest: chunkDigest(Buffer.from('another')) })])),
    },
    {
      name: 'a frame that decompresses to a thousand times what it declares',
      code: 'bad_data',
      lies: () => servesPart(partOf([forgedFrame({ encoding: 1, digest, rawBytes: 65_536, payload: bomb })])),
    },
    { name: 'a frame of a million chunks', code: 'bad_data', lies: () => servesPart(partOf([forgedFrame({ ...wide, chunks: 1e6 })])) },
    {
      name: 'a frame in an encoding that nobody knows',
      code: 'bad_data',
      lies: () => servesPart(partOf([forgedFrame({ ...wide, encoding: 9 })])),
    },
  ];
}

const MANIFESTS: readonly HostileCase[] = [
  { name: 'an image of another size than its manifest', code: 'mismatch', lies: (world) => retells(world, { sizeBytes: 4096 }) },
  { name: 'an image of another kind than its manifest', code: 'mismatch', lies: (world) => retells(world, { kind: 'engine' }) },
  {
    name: 'an image whose manifest is a chunk of data',
    code: 'bad_data',
    lies: (world) => ({
      catalogue: (honest) => withBody(world.hq, honest, (body) => ({ ...body, manifest: world.dataChunk })),
    }),
  },
];

const frameHeader = (type: number, size: number) => {
  const header = Buffer.alloc(5);
  header[0] = type;
  header.writeUInt32BE(size, 1);
  return header;
};
const sends = (octets: Buffer): Lies => ({ tunnel: (socket: Duplex) => void socket.write(octets) });
/** A greeting, then lines of a message of the day without end: rsync reads on, and does not end before the tunnel has looked. */
const GREETING = '@RSYNCD: 31.0 sha512 sha256 sha1 md5 md4\n';
const talk = (first: string) => Buffer.concat([frameHeader(1, MAX_DATA_BYTES), Buffer.from(first.padEnd(MAX_DATA_BYTES, 'good day\n'))]);

const TUNNELS: readonly HostileCase[] = [
  { name: 'a tunnel frame of unknown type', code: 'bad_packet', lies: () => sends(Buffer.from([7, 7, 7, 7, 7, 7])) },
  { name: 'a tunnel frame of no octets', code: 'bad_packet', lies: () => sends(frameHeader(1, 0)) },
  { name: 'a tunnel frame of four gigabytes', code: 'bad_packet', lies: () => sends(frameHeader(1, 2 ** 32 - 1)) },
  { name: 'credit for octets that were never sent', code: 'bad_packet', lies: () => sends(frameHeader(2, WINDOW_BYTES)) },
  {
    name: 'octets beyond the credit that was given',
    code: 'bad_packet',
    lies: () => sends(Buffer.concat(Array.from({ length: WINDOW_BYTES / MAX_DATA_BYTES + 40 }, (_, n) => talk(n === 0 ? GREETING : '')))),
  },
  { name: 'a switch to another protocol', code: 'version_mismatch', lies: () => ({ switchTo: 'websocket' }) },
];

export const CONTENT_CASES: readonly HostileCase[] = [...PLANS, ...FORMATS, ...(await framedCases()), ...MANIFESTS];
export const TUNNEL_CASES: readonly HostileCase[] = [...FILES, ...TUNNELS];
