import { openContentStore } from '../../../sync/content/open.ts';

/** Imports and exports a disk and prints the most memory that this process ever held, in bytes. */
const [directory = '', path = '', out = ''] = process.argv.slice(2);
const store = await openContentStore(directory);
const started = performance.now();
const { manifest, usedBytes } = await store.importDisk({ path });
const importMs = performance.now() - started;
await store.exportDisk(manifest, out);
await store.close();
process.stdout.write(JSON.stringify({ maxRssBytes: process.resourceUsage().maxRSS * 1024, usedBytes, importMs }));
