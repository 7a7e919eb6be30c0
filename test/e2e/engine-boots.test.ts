import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { newId } from '../../core/ids.ts';
import { type BuiltEngine, buildEngine } from '../../server/engine/build.ts';
import { cacheDirectory } from '../helpers/cache.ts';
import { startMachine } from '../helpers/qemu.ts';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));

describe('the engine', () => {
  let directory = '';
  let engine: BuiltEngine;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ws-engine-boots-'));
    engine = await buildEngine({ arch: 'amd64', cacheDir: cacheDirectory(), outDir: directory, projectDir: PROJECT });
  });
  after(() => rm(directory, { recursive: true, force: true }));

  it('is smaller than 80 MB and says what it is made of', () => {
    assert.ok(engine.sizeBytes < 80e6, `${engine.sizeBytes} bytes`);
    assert.match(engine.meta['packages'] ?? '', /^linux-image-\S+ \S+ amd64 [0-9a-f]{64}$/m);
    assert.match(engine.meta['packages'] ?? '', /^busybox-static \S+ amd64 [0-9a-f]{64}$/m);
  });

  it('loads drivers, gets an address on the card that booted, and starts the agent with the boot script’s words', async () => {
    const mac = '52:54:00:12:ab:cd';
    const folder = await mkdtemp(join(directory, 'machine-'));
    const boot = join(directory, 'boot/amd64');
    const words = [
      ...['console=tty0', 'console=ttyS0,115200', 'ws.url=https://10.0.2.2:9', `ws.pin=sha256:${'0'.repeat(64)}`],
      ...[`ws.boot=${newId()}`, `BOOTIF=01-${mac.replaceAll(':', '-')}`],
    ];
    const kernel = { vmlinuz: join(boot, 'vmlinuz'), initrd: join(boot, 'initrd'), commandLine: words.join(' ') };
    const machine = await startMachine({ firmware: 'bios', directory: folder, network: { kind: 'user' }, mac, kernel });
    try {
      await machine.waitForSerial(/engine: network is up: eth0 10\.0\.2\.15/, 90_000);
      await machine.waitForSerial(/agent: server https:\/\/10\.0\.2\.2:9, key sha256:/, 60_000);
    } finally {
      await machine.kill();
    }
  });
});
