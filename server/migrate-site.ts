import { loadConfig } from './config.ts';
import { migrateDatabase } from './db/migrate.ts';
import { connectDatabase } from './db/open.ts';
import { takeLock } from './lock.ts';
import { readServerId } from './server-id.ts';

/** Brings a data directory's database up to this release, under its lock; returns the names of the changes made. */
export async function migrateSite({ dataDir, env }: { dataDir: string; env: NodeJS.ProcessEnv }): Promise<readonly string[]> {
  await readServerId(dataDir);
  const lock = await takeLock(dataDir);
  try {
    const db = await connectDatabase(await loadConfig({ dataDir, env }), dataDir, env);
    try {
      return await migrateDatabase(db);
    } finally {
      await db.destroy();
    }
  } finally {
    lock.release();
  }
}
