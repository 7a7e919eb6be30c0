import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { waystation } from '../helpers/lab/command.ts';
import { initServer, type LabServer, startServer, stopChild } from '../helpers/lab/server.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';
import { rawDisk } from './image-files.ts';

const COPIES = 24;

/** A disk of 384 MiB that takes some seconds to import: the small one and many more blocks of other content behind it. */
async function writeLargeDisk(path: string): Promise<void> {
  const file = createWriteStream(path);
  for (let seed = 1; seed <= COPIES; seed++) {
    const part = rawDisk(seed);
    // Only the first may carry a partition table.
    if (!file.write(seed === 1 ? part : part.fill(0, 0, 512))) await once(file, 'drain');
  }
  file.end();
  await once(file, 'close');
}

test('a server killed in the middle of an import leaves no image and a clean store, and the import can be repeated', async () => {
  const work = await temporaryDirectory('killed');
  const [disk, dataDir] = [join(work, 'disk.raw'), join(work, 'hq')];
  await writeLargeDisk(disk);
  let server: LabServer = await initServer({
    name: 'hq',
    dataDir,
    initArgs: ['--http-port', '0', '--https-port', '0', '--tftp-port', '0'],
  });
  after(() => server.stop());

  const importing = waystation(['image', 'import', disk, '--name', 'deb'], { dataDir });
  const packs = join(dataDir, 'store', 'packs');
  await waitUntil('the import writes a pack', async () => (await readdir(packs)).length > 0, {
    limitMs: 30_000,
    everyMs: 20,
    despiteErrors: true,
  });
  await stopChild(server.process, 'SIGKILL');
  const { code, stderr } = await importing;
  assert.equal(code, 69, stderr);
  assert.match(stderr, /^waystation: .+\n$/);

  server = await startServer({ name: 'hq', dataDir });
  assert.deepEqual(await server.json('image', 'list'), { items: [], next: null });
  assert.equal((await server.json<{ clean: boolean }>('store', 'check')).clean, true);
  assert.deepEqual(await readdir(join(dataDir, 'store', 'tmp')), []);
  assert.equal((await server.json<{ version: string }>('image', 'import', disk, '--name', 'deb')).version, '1');
  assert.equal((await server.json<{ clean: boolean }>('image', 'verify', 'deb')).clean, true);
});
