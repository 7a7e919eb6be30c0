import type { Config } from '../config.ts';
import { resolveDatabase } from '../datasource.ts';
import { splitHost } from '../db/dialect-mysql.ts';
import { requireCurrentSchema } from '../db/migrate.ts';
import { connectDatabase } from '../db/open.ts';
import { type Finding, failWith, ok, warn } from './finding.ts';

const LOOPBACK = /^(localhost|127(\.\d+){3}|::1)$/i;

/** The database is reached, signs us in, and has this release's schema; and nobody on the way reads along. */
export async function checkDatabase(
  config: Pick<Config, 'database'>,
  dataDir: string,
  env: NodeJS.ProcessEnv,
): Promise<readonly Finding[]> {
  try {
    const db = await connectDatabase(config, dataDir, env);
    try {
      await requireCurrentSchema(db);
      return [ok('database', `${nameOf(config.database)}, schema is current`), ...(await checkPrivacy(config, dataDir, env))];
    } finally {
      await db.destroy();
    }
  } catch (error) {
    return [failWith('database', error), ...(await checkPrivacy(config, dataDir, env))];
  }
}

/** Without a CA the driver speaks plain TCP to whoever answers. */
async function checkPrivacy(config: Pick<Config, 'database'>, dataDir: string, env: NodeJS.ProcessEnv): Promise<readonly Finding[]> {
  // Settings that cannot be resolved are told by the finding before this one.
  const connection = await resolveDatabase(config.database, { dataDir, env }).catch(() => undefined);
  if (connection?.kind !== 'mysql' || connection.ca !== undefined) return [];
  const far = connection.hosts.filter((address) => !LOOPBACK.test(splitHost(address).host));
  if (far.length === 0) return [];
  const message = `the way to ${far.join(', ')} is plain TCP: whoever is on it reads and changes every record`;
  return [warn('database connection', message, 'set "ca" of the database to the CA that signed its certificate')];
}

function nameOf(database: Config['database']): string {
  return typeof database === 'string' ? database : `${database.name} at ${database.hosts.join(', ')}`;
}
