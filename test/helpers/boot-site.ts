import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Digest, type Id, type Name, newId } from '../../core/ids.ts';
import type { Arch } from '../../core/image.ts';
import { type Config, loadConfig } from '../../server/config.ts';
import { migrateDatabase } from '../../server/db/migrate.ts';
import { connectDatabase } from '../../server/db/open.ts';
import { createLog } from '../../server/log.ts';
import type { Site } from '../../server/site.ts';
import { Wake } from '../../server/wake.ts';

export type BootSite = {
  readonly site: Site;
  /** Publishes an engine whose files are these. */
  publishEngine(
    manifest: Digest,
    files: Readonly<Record<string, Uint8Array>>,
    options?: { readonly arch?: Arch; readonly state?: string },
  ): Promise<void>;
  close(): Promise<void>;
};

/**
 * What the boot room needs of a site: a real database in its own directory, and a store that knows only the files given
 * to `publishEngine` (the real one has its own tests). No listeners, no keys but a pin.
 */
export async function openBootSite(settings: Partial<Config> = {}): Promise<BootSite> {
  const dataDir = await mkdtemp(join(tmpdir(), 'ws-boot-'));
  const config = await loadConfig({ dataDir, env: {}, flags: { tftpPort: 0, httpPort: 8080, httpsPort: 8443, ...settings } });
  const db = await connectDatabase(config, dataDir);
  await migrateDatabase(db);
  const log = createLog({ dataDir, level: 'debug', toStdout: false });
  const trees = new Map<Digest, Readonly<Record<string, Uint8Array>>>();
  const self = { id: newId(), name: 'branch-1' as Name };
  const store = { openFile: async (manifest: Digest, path: string) => openFile(trees.get(manifest)?.[path]) };
  const keys = { caPin: `sha256:${'c'.repeat(64)}` as Digest };
  const close = async () => {
    await db.destroy();
    await rm(dataDir, { recursive: true, force: true });
  };
  const site = { dataDir, config, self, db, store, keys, log, wake: new Wake(), now: Date.now, close } as unknown as Site;
  return {
    site,
    close,
    publishEngine: async (manifest, files, options = {}) => {
      trees.set(manifest, files);
      await db('images').insert(imageRow(manifest, self.id, options.arch ?? 'amd64', options.state ?? 'published'));
    },
  };
}

function openFile(content: Uint8Array | undefined) {
  if (content === undefined) return undefined;
  const stream = new ReadableStream<Uint8Array>({
    start: (controller) => {
      for (let at = 0; at < content.length; at += 10_000) controller.enqueue(content.slice(at, at + 10_000));
      controller.close();
    },
  });
  return { sizeBytes: content.length, stream };
}

function imageRow(manifest: Digest, origin: Id, arch: Arch, state: string) {
  const id = newId();
  const sizes = { size_bytes: 1, used_bytes: 1, stored_bytes: 1 };
  return { id, origin, name: 'engine', version: id, kind: 'engine', arch, manifest, state, ...sizes, created_at: Date.now() };
}
