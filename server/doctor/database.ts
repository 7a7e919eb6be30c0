import type { Config } from '../config.ts';
import { requireCurrentSchema } from '../db/migrate.ts';
import { connectDatabase } from '../db/open.ts';
import { type Finding, failWith, ok } from './finding.ts';

/** The database is reached, signs us in, and has this release's schema. */
export async function checkDatabase(
  config: Pick<Config, 'database'>,
  dataDir: string,
  env: NodeJS.ProcessEnv,
): Promise<readonly Finding[]> {
  try {
    const db = await connectDatabase(config, dataDir, env);
    try {
      await requireCurrentSchema(db);
      return [ok('database', `${nameOf(config.database)}, schema is current`)];
    } finally {
      await db.destroy();
    }
  } catch (error) {
    return [failWith('database', error)];
  }
}

function nameOf(database: Config['database']): string {
  return typeof database === 'string' ? database : `${database.name} at ${database.hosts.join(', ')}`;
}
