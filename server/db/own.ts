import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import type { Connection } from '../datasource.ts';
import { openDatabase } from './open.ts';

/** The file of a server's own database, whatever it shares with others (docs/decisions/0024). */
export const OWN_DATABASE = 'db.sqlite';

/** Whether this directory is of release 0.1 and its rows are still in the MySQL database that it names. */
export function hasRowsElsewhere(dataDir: string, connection: Connection): boolean {
  return connection.kind === 'mysql' && !existsSync(join(dataDir, OWN_DATABASE));
}

/**
 * Opens DIR/db.sqlite and checks that its schema is this program's; the caller destroys it. Errors: those of
 * `openDatabase`; `config` when release 0.1 kept the rows elsewhere.
 */
export async function openOwnDatabase(dataDir: string, connection: Connection): Promise<Knex> {
  if (hasRowsElsewhere(dataDir, connection)) {
    throw new AppError(
      'config',
      `${dataDir} has no ${OWN_DATABASE}: release 0.1 kept this server's rows in the database that is shared now`,
      {
        hint: 'run waystation migrate: it brings them here, compares, and leaves the old ones where they are',
      },
    );
  }
  return openDatabase({ database: 'sqlite' }, dataDir);
}
