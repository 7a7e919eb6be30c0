/**
 * How long a PXE client waits for its answer while the server imports an image, beside the same server idle:
 * `node bench/pxe.ts [--json]`. The client is a process of its own, the sockets are real, the import goes through the
 * content store and its worker. Run as a client: `node bench/pxe.ts --client PORT COUNT`.
 */
import { spawn } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ContentStore } from '../core/content-store.ts';
import { startProxyDhcp } from '../server/dhcp/listener.ts';
import { MESSAGE } from '../server/dhcp/packet.ts';
import { sightingQueue } from '../server/dhcp/sightings.ts';
import { seeTarget } from '../server/targets.ts';
import { openContentStore } from '../sync/content/open.ts';
import { openBootSite } from '../test/helpers/boot-site.ts';
import { pxeBytes } from '../test/helpers/pxe-packets.ts';

export type Latency = {
  readonly asked: number;
  readonly answered: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
};
export type PxeLatency = { readonly idle: Latency; readonly importing: Latency; readonly ratio: number; readonly importMBps: number };

const EVERY_MS = 3;
const IMAGE_BYTES = 96 << 20;
const IMAGES = 3;

/** Measures both, one after the other. The ratio is that of the 99th percentiles. */
export async function measurePxeLatency(count = 1_000): Promise<PxeLatency> {
  const folder = await mkdtemp(join(tmpdir(), 'ws-pxe-bench-'));
  const boot = await openBootSite();
  const store = await openContentStore(join(folder, 'store-dir'));
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const sightings = sightingQueue(
    async ({ mac, client, at }) => {
      await seeTarget(boot.site, { macs: [mac], arch: client.arch, discoveredBy: 'dhcp', at });
    },
    (error) => console.error(error),
  );
  const offer = { address: '127.0.0.1', tftpAddress: '127.0.0.1', scriptUrl: 'http://127.0.0.1/boot.ipxe' };
  const proxy = startProxyDhcp({
    sockets: [{ socket, interfaceName: 'lo', port: 'pxe' }],
    offerOn: () => offer,
    onSeen: (mac, client) => sightings.note({ mac, client, at: Date.now() }),
    log: boot.site.log,
  });
  try {
    const { port } = socket.address();
    const images = await makeImages(folder);
    await askFromOutside(port, 200); // warm
    const idle = await askFromOutside(port, count);
    let isDone = false;
    const started = performance.now();
    const importing = importUntil(store, images, () => isDone);
    await sleep(300);
    const busy = await askFromOutside(port, count);
    isDone = true;
    const bytes = await importing;
    const importMBps = bytes / 1e3 / (performance.now() - started);
    return { idle, importing: busy, ratio: busy.p99Ms / idle.p99Ms, importMBps };
  } finally {
    await proxy.close();
    await sightings.settled();
    await store.close();
    await boot.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** The same as figures for a table. */
export async function benchPxe(count = 1_000): Promise<{ idleP99Ms: number; busyP99Ms: number; ratio: number; count: number }> {
  const { idle, importing, ratio } = await measurePxeLatency(count);
  if (idle.answered < count || importing.answered < count) throw new Error(`unanswered: ${JSON.stringify({ idle, importing })}`);
  return { idleP99Ms: idle.p99Ms, busyP99Ms: importing.p99Ms, ratio, count };
}

/** Imports the images one after another, from the start again, until told; the bytes read. */
async function importUntil(store: ContentStore, paths: readonly string[], isDone: () => boolean): Promise<number> {
  let bytes = 0;
  for (let number = 0; !isDone(); number += 1) {
    await store.importDisk({ path: paths[number % paths.length] as string });
    bytes += IMAGE_BYTES;
  }
  return bytes;
}

/** Disks with one partition; half of their octets are random, half compress well, as in file systems. */
async function makeImages(folder: string): Promise<readonly string[]> {
  const paths = Array.from({ length: IMAGES }, (_, number) => join(folder, `${number}.raw`));
  for (const path of paths) {
    const file = await open(path, 'wx');
    const block = Buffer.alloc(1 << 20);
    for (let at = 0; at < IMAGE_BYTES; at += block.length) {
      randomFillSync(block, 0, block.length / 2);
      if (at === 0) writePartitionTable(block);
      await file.write(block);
    }
    await file.close();
  }
  return paths;
}

/** A master boot record with one Linux partition from sector 2048 to the end. */
function writePartitionTable(block: Buffer): void {
  block.fill(0, 446, 510);
  block[446 + 4] = 0x83;
  block.writeUInt32LE(2_048, 446 + 8);
  block.writeUInt32LE(IMAGE_BYTES / 512 - 2_048, 446 + 12);
  block.writeUInt16BE(0x55aa, 510);
}

async function askFromOutside(port: number, count: number): Promise<Latency> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), '--client', String(port), String(count)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const parts: Buffer[] = [];
  child.stdout.on('data', (part: Buffer) => parts.push(part));
  await once(child, 'close');
  return JSON.parse(Buffer.concat(parts).toString()) as Latency;
}

/** Sends requests at a steady pace and prints how long the answers took. */
async function client(port: number, count: number): Promise<void> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const sentAt = new Map<number, number>();
  const tookMs: number[] = [];
  socket.on('message', (bytes) => {
    const started = sentAt.get(bytes.readUInt32BE(4));
    if (started !== undefined) tookMs.push(performance.now() - started);
  });
  for (let number = 0; number < count; number += 1) {
    const mac = `52:54:00:00:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 255).toString(16).padStart(2, '0')}`;
    const bytes = pxeBytes({ message: MESSAGE.request, mac, arch: 7, ciaddr: '127.0.0.1' });
    bytes.writeUInt32BE(number, 4);
    sentAt.set(number, performance.now());
    socket.send(bytes, port, '127.0.0.1');
    await sleep(EVERY_MS);
  }
  await sleep(1_000);
  socket.close();
  tookMs.sort((a, b) => a - b);
  const at = (share: number) => tookMs[Math.min(tookMs.length - 1, Math.floor(tookMs.length * share))] ?? Number.NaN;
  const latency: Latency = { asked: count, answered: tookMs.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
  process.stdout.write(JSON.stringify(latency));
}

if (import.meta.main) {
  if (process.argv[2] === '--client') await client(Number(process.argv[3]), Number(process.argv[4]));
  else {
    const result = await measurePxeLatency();
    if (process.argv.includes('--json')) console.log(JSON.stringify(result));
    else {
      const show = ({ answered, asked, p50Ms, p99Ms, maxMs }: Latency) =>
        `${answered}/${asked} answered, p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms, max ${maxMs.toFixed(2)} ms`;
      console.log(`PXE answer, idle:              ${show(result.idle)}`);
      console.log(`PXE answer, during an import:  ${show(result.importing)} (import ${result.importMBps.toFixed(0)} MB/s)`);
      console.log(`p99 ratio: ${result.ratio.toFixed(2)} (at most 5 is wanted)`);
    }
  }
}
