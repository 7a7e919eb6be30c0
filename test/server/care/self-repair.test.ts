import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { startSelfRepair } from '../../../server/care/self-repair.ts';
import { flipBit } from '../../helpers/flip-bit.ts';
import { importDisk, makeDisk, makeSite } from '../../helpers/replication-sites.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';
import { waitUntil } from '../../helpers/wait-until.ts';

test('a chunk that nobody has any more is looked for when it is found missing, not each time that a machine asks for it', async () => {
  const root = await temporaryDirectory('self-repair-asks');
  const site = await makeSite(root, 'hq');
  try {
    await makeDisk(join(root, 'disk.raw'), 3_000_000);
    const { manifest } = await importDisk(site, join(root, 'disk.raw'));
    const packs = join(site.dataDir, 'store', 'packs');
    const [pack = assert.fail()] = (await readdir(packs)).map((name) => join(packs, name));
    await flipBit(pack, Math.floor((await stat(pack)).size / 2) * 8);
    let looks = 0;
    const lackingOf: typeof site.store.lackingOf = (manifests) => {
      looks += 1;
      return site.store.lackingOf(manifests);
    };
    const repair = startSelfRepair({ ...site, store: { ...site.store, lackingOf } });
    await waitUntil('it has looked at its start', async () => looks > 0, { limitMs: 10_000, everyMs: 10, despiteErrors: true });
    assert.ok((await site.store.verifyImage(manifest)).damages.length > 0);
    await waitUntil('it has looked for what was found', async () => looks > 1, { limitMs: 10_000, everyMs: 10, despiteErrors: true });
    for (let n = 0; n < 15; n++) {
      await site.store.verifyImage(manifest);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await repair.close();
    assert.ok(looks <= 5, `it looked ${looks} times`);
  } finally {
    await site.close();
  }
});
