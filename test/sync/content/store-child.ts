import { openContentStore } from '../../../sync/content/open.ts';

/**
 * A process of its own that works on a store until it is killed or done:
 * `import DIR FILE`, or `unpack DIR FILE...`. Says `working` before it begins.
 */
const [verb, directory = '', ...paths] = process.argv.slice(2);
const store = await openContentStore(directory);
process.stdout.write('working\n');
for (const path of paths) {
  if (verb === 'import') await store.importDisk({ path });
  else await store.unpackPart(path);
}
await store.close();
