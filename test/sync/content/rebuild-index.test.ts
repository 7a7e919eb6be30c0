import assert from 'node:assert/strict';
import { copyFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { newId } from '../../../core/ids.ts';
import { rebuildIndex } from '../../../sync/content/rebuild-index.ts';
import { openStore, packPath } from '../../../sync/content/store.ts';
import { gptDisk } from '../../core/content/make-disk.ts';
import { endInReverse } from '../../helpers/end-in-reverse.ts';
import { importOctets, openedStore, temporaryDirectory } from './fixtures.ts';

test('a pack that arrives while the index is made again gets its rows from whoever brings it, once', async (t) => {
  const directory = await temporaryDirectory(t);
  const filled = await openedStore(t, join(directory, 'filled'));
  await importOctets(filled, directory, gptDisk(4, 1));
  await filled.close();
  const [pack = ''] = await readdir(join(directory, 'filled', 'packs'));
  const store = await openStore(join(directory, 'store'), new AbortController().signal);
  endInReverse(t, () => store.index.close());
  const name = newId();
  store.arriving.add(name);
  await copyFile(join(directory, 'filled', 'packs', pack), packPath(store.paths, name));
  await rebuildIndex(store, () => undefined);
  assert.deepEqual(store.index.packs(), []);
  store.index.addPack({ name, bytes: 1 }, []);
});
