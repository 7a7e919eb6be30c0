import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, open, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { FIRST_BOOT_MAGIC, FIRST_BOOT_RECORD_BYTES, FirstBoot } from '../../core/agent-protocol.ts';
import { newId } from '../../core/ids.ts';
import { createAuthority, issueServerLeaf } from '../../server/trust/certificates.ts';
import { cacheDirectory } from '../helpers/cache.ts';
import { buildDebianImage } from '../helpers/debian-image.ts';
import { startMachine } from '../helpers/qemu.ts';

type Call = { readonly url: string; readonly body: unknown };
type Home = { readonly port: number; readonly ca: string; readonly calls: Call[]; close(): void };

/** A server with real certificates of ours that takes the call of a deployed system. */
async function startHome(): Promise<Home> {
  const serverId = newId();
  const ca = await createAuthority(serverId, Date.now());
  const leaf = await issueServerLeaf(ca, serverId, Date.now());
  const calls: Call[] = [];
  const server = createServer({ key: leaf.keyPem, cert: leaf.certificatePem, minVersion: 'TLSv1.3' }, (request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      calls.push({ url: `${request.method} ${request.url}`, body: JSON.parse(Buffer.concat(parts).toString('utf8')) });
      // The first call meets a server that is just starting: the service must come back.
      response.writeHead(calls.length === 1 ? 503 : 200, { 'content-type': 'application/json' }).end('{"state":"current"}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { port: (server.address() as AddressInfo).port, ca: ca.certificatePem, calls, close };
}

/** The disk of a machine: larger than the image, as the agent leaves it with its record at the very end. */
async function deployedDisk(path: string, record: object): Promise<void> {
  const file = await open(path, 'r+');
  const sizeBytes = (await stat(path)).size + 256 * 1_048_576;
  await file.truncate(sizeBytes);
  await file.write(`${FIRST_BOOT_MAGIC}${JSON.stringify(record)}\n`, sizeBytes - FIRST_BOOT_RECORD_BYTES, 'utf8');
  await file.close();
}

async function readRecord(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  const octets = Buffer.alloc(FIRST_BOOT_RECORD_BYTES);
  await file.read(octets, 0, octets.length, (await file.stat()).size - octets.length);
  await file.close();
  return octets;
}

describe('the Debian disk image', () => {
  let directory = '';
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ws-image-boots-'));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  for (const firmware of ['bios', 'uefi'] as const) {
    it(`boots from its disk under ${firmware}, calls home once with the nonce, and clears the record`, async () => {
      const home = await startHome();
      const disk = join(directory, `${firmware}.img`);
      await buildDebianImage({ out: disk, cacheDir: cacheDirectory() });
      const call = { orderId: newId(), nonce: randomBytes(32).toString('hex') };
      await deployedDisk(disk, { url: `https://10.0.2.2:${home.port}`, ca: home.ca, ...call });
      const folder = await mkdtemp(join(directory, `${firmware}-`));
      const machine = await startMachine({ firmware, disk, directory: folder, network: { kind: 'user' }, bootFrom: 'disk' });
      try {
        await machine.waitForSerial(/WAYSTATION-FIRST-BOOT-OK/, 120_000);
        assert.deepEqual(home.calls.at(-1), { url: 'POST /api/v1/first-boot', body: FirstBoot.parse(call) });
        assert.equal(home.calls.length, 2);
      } finally {
        await machine.kill();
        home.close();
      }
      assert.ok((await readRecord(disk)).every((octet) => octet === 0));
    });
  }

  it('stops at its boot loader when the kernel was removed', async () => {
    const disk = join(directory, 'broken.img');
    await buildDebianImage({ out: disk, cacheDir: cacheDirectory(), withoutKernel: true });
    const folder = await mkdtemp(join(directory, 'broken-'));
    const machine = await startMachine({ firmware: 'bios', disk, directory: folder, network: { kind: 'none' }, bootFrom: 'disk' });
    try {
      await machine.waitForSerial(/error: file .*vmlinuz.* not found/, 60_000);
    } finally {
      await machine.kill();
    }
  });
});
