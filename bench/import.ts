import { execFile } from 'node:child_process';
import { mkdtemp, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { openContentStore } from '../sync/content/open.ts';

/*
 * Import speed beside `zstd -3 -T2` and `sha256sum` of the same file in the same run, all in megabytes of used data per
 * second. Each is run three times in turn and its best counts: neighbours on the machine hit all alike.
 * The disk holds what a disk holds: programs and libraries of this machine, or give your own with --file.
 */
export type ImportBench = {
  readonly usedBytes: number;
  readonly sizeBytes: number;
  readonly storedBytes: number;
  readonly importMBs: number;
  readonly zstdMBs: number;
  readonly sha256MBs: number;
  readonly againMBs: number;
  readonly exportMBs: number;
  readonly importOverZstd: number;
};

const MIB = 1024 * 1024;
const ROUNDS = 3;
const runFile = promisify(execFile);

/** Measures with the disk at `file`, or one made of `megabytes` of this machine's programs. */
export async function benchImport(options: { file?: string; megabytes?: number } = {}): Promise<ImportBench> {
  const directory = await mkdtemp(join(tmpdir(), 'waystation-bench-'));
  try {
    const path = options.file ?? (await makeDisk(join(directory, 'disk.img'), options.megabytes ?? 512));
    return await measure(path, directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function measure(path: string, directory: string): Promise<ImportBench> {
  const best = { import: Number.POSITIVE_INFINITY, zstd: Number.POSITIVE_INFINITY, sha: Number.POSITIVE_INFINITY, again: 0, export: 0 };
  let imported = { usedBytes: 0, sizeBytes: 0, storedBytes: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const root = join(directory, 'store');
    const store = await openContentStore(root);
    const compressed = join(directory, 'disk.zst');
    best.zstd = Math.min(best.zstd, await seconds(() => runFile('zstd', ['-3', '-T2', '-q', '-f', path, '-o', compressed])));
    best.sha = Math.min(best.sha, await seconds(() => runFile('sha256sum', [path])));
    const took = await seconds(async () => {
      imported = await store.importDisk({ path });
    });
    best.import = Math.min(best.import, took);
    if (round === ROUNDS - 1) {
      best.again = await seconds(() => store.importDisk({ path }));
      const { manifest } = await store.importDisk({ path });
      best.export = await seconds(() => store.exportDisk(manifest, join(directory, 'out.img')));
    }
    await store.close();
    await rm(root, { recursive: true });
  }
  const rate = (time: number): number => Math.round(imported.usedBytes / 1e5 / time) / 10;
  return {
    usedBytes: imported.usedBytes,
    sizeBytes: imported.sizeBytes,
    storedBytes: imported.storedBytes,
    importMBs: rate(best.import),
    zstdMBs: rate(best.zstd),
    sha256MBs: rate(best.sha),
    againMBs: rate(best.again),
    exportMBs: rate(best.export),
    importOverZstd: Math.round((best.zstd / best.import) * 100) / 100,
  };
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

/** An MBR disk with one partition full of programs and libraries, each at a multiple of 4 KiB as in a file system. */
async function makeDisk(path: string, megabytes: number): Promise<string> {
  const sizeBytes = megabytes * MIB;
  const head = Buffer.alloc(MIB);
  head[446 + 4] = 0x83;
  head.writeUInt32LE(2048, 446 + 8);
  head.writeUInt32LE(sizeBytes / 512 - 2048, 446 + 12);
  head.writeUInt16LE(0xaa55, 510);
  const file = await open(path, 'w');
  try {
    await file.write(head, 0, head.length, 0);
    let at = MIB;
    for (const source of ['/usr/bin', '/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/sbin']) {
      for await (const content of filesOf(source)) {
        if (at + content.length > sizeBytes) break;
        await file.write(content, 0, content.length, at);
        at += Math.ceil(content.length / 4096) * 4096;
      }
    }
    await file.truncate(sizeBytes);
    await file.sync();
  } finally {
    await file.close();
  }
  return path;
}

async function* filesOf(directory: string): AsyncGenerator<Buffer> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  for (const entry of entries.filter((found) => found.isFile()).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(directory, entry.name);
    if ((await stat(path)).size >= 4096) yield await readFile(path);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { json: { type: 'boolean' }, file: { type: 'string' }, megabytes: { type: 'string' } } });
  const result = await benchImport({
    ...(values.file === undefined ? {} : { file: values.file }),
    ...(values.megabytes === undefined ? {} : { megabytes: Number(values.megabytes) }),
  });
  console.log(values.json ? JSON.stringify(result) : describe(result));
}

function describe(result: ImportBench): string {
  return [
    `disk         ${Math.round(result.sizeBytes / MIB)} MiB, ${Math.round(result.usedBytes / 1e6)} MB used, ${Math.round(result.storedBytes / 1e6)} MB stored`,
    `import       ${result.importMBs} MB/s (${result.importOverZstd} of zstd)`,
    `zstd -3 -T2  ${result.zstdMBs} MB/s`,
    `sha256sum    ${result.sha256MBs} MB/s`,
    `import again ${result.againMBs} MB/s`,
    `export       ${result.exportMBs} MB/s`,
  ].join('\n');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
