import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import type { TftpServer } from '../../../server/tftp/listener.ts';
import { startLossyRelay, type Weather } from '../../helpers/lossy-relay.ts';
import { serveFiles } from './helpers.ts';

/** Four independent clients, each with the options it can ask for. */
const run = promisify(execFile);
const TIME_LIMIT = { timeout: 40_000 };
type Fetch = (port: number, file: string, to: string) => Promise<unknown>;
const CLIENTS: Readonly<Record<string, Fetch>> = {
  curl: (port, file, to) => run('curl', ['-sS', '--tftp-blksize', '1428', '-o', to, `tftp://127.0.0.1:${port}/${file}`], TIME_LIMIT),
  'tftp-hpa': (port, file, to) => run('tftp', ['-m', 'binary', '127.0.0.1', String(port), '-c', 'get', file, to], TIME_LIMIT),
  busybox: (port, file, to) => run('busybox', ['tftp', '-g', '-b', '1428', '-r', file, '-l', to, '127.0.0.1', String(port)], TIME_LIMIT),
  atftp: (port, file, to) => run('atftp', ['--option', 'blksize 1428', '-g', '-r', file, '-l', to, '127.0.0.1', String(port)], TIME_LIMIT),
  'atftp with a window of 16': (port, file, to) =>
    run(
      'atftp',
      ['--option', 'blksize 1428', '--option', 'windowsize 16', '-g', '-r', file, '-l', to, '127.0.0.1', String(port)],
      TIME_LIMIT,
    ),
};

const files: Record<string, Uint8Array> = {
  empty: new Uint8Array(0),
  one: Buffer.from('x'),
  block512: random(512),
  block1428: random(1_428),
  'quarter.bin': random(256 << 10),
  'many-blocks': random(512 * 66_000 + 17),
};
let server: TftpServer;
let folder: string;

before(async () => {
  server = await serveFiles(files);
  folder = await mkdtemp(join(tmpdir(), 'ws-tftp-'));
});
after(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

function random(length: number): Uint8Array {
  return randomFillSync(new Uint8Array(length));
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function fetchAndCompare(fetch: Fetch, port: number, file: string, label: string): Promise<number> {
  const to = join(folder, `${label.replaceAll(/\W/g, '-')}-${file}`);
  const started = performance.now();
  await fetch(port, file, to);
  const ms = performance.now() - started;
  const got = await readFile(to);
  assert.equal(sha256(got), sha256(files[file] as Uint8Array), `${label}: ${file}`);
  await rm(to);
  return ms;
}

for (const [name, fetch] of Object.entries(CLIENTS)) {
  test(`${name} reads files that are empty, short, and fill their last block`, async () => {
    for (const file of ['one', 'block512', 'block1428', 'quarter.bin']) await fetchAndCompare(fetch, server.port, file, name);
    // busybox and atftp remove or never make an empty file; that they end well is what counts.
    await fetch(server.port, 'empty', join(folder, `${name.replaceAll(/\W/g, '-')}-empty`));
  });
}

test('tftp-hpa reads a file of more than 65535 blocks', async (t) => {
  const ms = await fetchAndCompare(CLIENTS['tftp-hpa'] as Fetch, server.port, 'many-blocks', 'wrap');
  t.diagnostic(`${((files['many-blocks']?.length ?? 0) / ms / 1000).toFixed(1)} MB/s in blocks of 512`);
});

const WEATHER: Readonly<Record<string, Omit<Weather, 'seed'>>> = {
  'loss 1 %': { loss: 0.01, duplicates: 0 },
  'loss 5 %': { loss: 0.05, duplicates: 0 },
  'duplicates 20 %': { loss: 0, duplicates: 0.2 },
};
for (const [weather, die] of Object.entries(WEATHER)) {
  test(`every client reads 256 KiB through ${weather}`, async (t) => {
    // Side by side: a client that waits for its own time-out does not hold up the rest.
    await Promise.all(
      Object.entries(CLIENTS).map(async ([name, fetch], index) => {
        const relay = await startLossyRelay(server.port, { ...die, seed: 1_000 + index });
        try {
          const ms = await fetchAndCompare(fetch, relay.port, 'quarter.bin', `${name} ${weather}`);
          t.diagnostic(`${name}: ${(ms / 1000).toFixed(2)} s, ${relay.counts.lost} lost, ${relay.counts.doubled} doubled`);
        } finally {
          await relay.close();
        }
      }),
    );
  });
}

test('duplicates on the wire do not make the server send more than once for each acknowledgement', async () => {
  const relay = await startLossyRelay(server.port, { loss: 0, duplicates: 0.2, seed: 7 });
  await fetchAndCompare(CLIENTS['curl'] as Fetch, relay.port, 'quarter.bin', 'sas');
  const needed = 2 * (Math.ceil((256 << 10) / 1_428) + 1);
  // Data and acknowledgements, and clients that acknowledge a doubled block twice; a server with the apprentice bug
  // doubles every packet from the first one on.
  assert.ok(relay.counts.passed <= needed * 1.2, `${relay.counts.passed} datagrams for ${needed}`);
  await relay.close();
});
