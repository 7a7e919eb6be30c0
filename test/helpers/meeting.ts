import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Mariadb, type MariadbPlace, startMariadb } from './mariadb.ts';

/** A MariaDB where servers meet. `database` goes into their flags. */
export type Meeting = { readonly mariadb: Mariadb; readonly database: string };

/** Starts one, with an empty database. `root` is a directory of the test; the caller stops `mariadb`. */
export async function startMeeting(root: string, place: MariadbPlace = {}): Promise<Meeting> {
  const name = 'meet';
  const mariadb = await startMariadb([], place);
  mariadb.createDatabase(name);
  const passwordFile = join(root, 'database-password');
  await writeFile(passwordFile, mariadb.password, { mode: 0o600 });
  return { mariadb, database: `${mariadb.url}${name}?passwordFile=${encodeURIComponent(passwordFile)}` };
}
