import { resolveDatabase } from '../../server/datasource.ts';
import type { MysqlConnection } from '../../server/db/dialect-mysql.ts';
import { openSharedDatabase } from '../../server/db/open.ts';

/** Makes an empty database on a server that runs already, in the place of one that an earlier test left. `url` names one whose name ours begins with; the answer names ours. */
export async function emptyDatabase(url: string, suffix: string): Promise<string> {
  const { pathname } = new URL(url);
  const name = `${pathname.slice(1)}_${suffix}`;
  const connection = (await resolveDatabase(url, {})) as MysqlConnection;
  const db = openSharedDatabase({ ...connection, name: 'information_schema' });
  try {
    await db.raw('drop database if exists ??', [name]);
    await db.raw('create database ??', [name]);
  } finally {
    await db.destroy();
  }
  return url.replace(pathname, `/${name}`);
}
