import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { READ_ENCODINGS } from '../../../core/negotiate.ts';
import { openContentStore } from '../../../sync/content/open.ts';

/** One side of an update from the first disk to the second; prints the most memory that this process ever held, in bytes. */
const [side = '', directory = '', first = '', second = ''] = process.argv.slice(2);
const store = await openContentStore(join(directory, side));
const { manifest: one } = await store.importDisk({ path: first });
let skipped = 0;
if (side === 'master') {
  const { manifest: two } = await store.importDisk({ path: second });
  await store.buildArchive({ have: [one], want: [two], encodings: READ_ENCODINGS });
} else {
  const archives = join(directory, 'master', 'archives');
  const [key = ''] = (await readdir(archives)).filter((name) => !name.endsWith('.json'));
  for (const name of await readdir(join(archives, key))) skipped += (await store.unpackPart(join(archives, key, name))).skippedFrames;
}
await store.close();
process.stdout.write(JSON.stringify({ maxRssBytes: process.resourceUsage().maxRSS * 1024, skipped }));
