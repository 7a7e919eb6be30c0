import type { Connection } from '../datasource.ts';
import { type Examined, examineDatabase } from '../db/dialect-examine.ts';
import { openSharedDatabase } from '../db/open.ts';
import { missingInShared } from '../db/shared/migrate.ts';
import { classify } from './failure.ts';

export type ExaminedShared = Examined & { readonly schema: 'empty' | 'current' | 'needs migrate' };

/** Connects once and looks; changes nothing. Errors: `unreachable`, `config`, `busy`, `version_mismatch`. */
export async function examineShared(connection: Connection & { kind: 'mysql' }): Promise<ExaminedShared> {
  const db = openSharedDatabase(connection);
  try {
    const examined = await examineDatabase(db, connection.name);
    const missing = await missingInShared(db);
    const isNew = missing.length > 0 && !(await db.schema.hasTable('shared_schema'));
    return { ...examined, schema: isNew ? 'empty' : missing.length === 0 ? 'current' : 'needs migrate' };
  } catch (error) {
    throw classify(error, `database "${connection.name}" at ${connection.hosts.join(', ')}`).error;
  } finally {
    await db.destroy();
  }
}

/** One line for each thing that is not as it should be; none: all is well. */
export function complaintsAbout({ lacking, connections, schema, maySetUp }: ExaminedShared): string[] {
  const { used, most } = connections;
  return [
    ...(lacking === null ? ['what was granted to the account could not be read'] : []),
    ...(lacking !== null && lacking.length > 0 ? [`the account lacks ${lacking.join(', ')} on the database`] : []),
    ...(schema !== 'current' && maySetUp === false ? ['the tables of this release are not there, and the account may not make them'] : []),
    ...(used > 0.9 * most ? [`${used} of ${most} connections are in use: raise max_connections`] : []),
  ];
}
