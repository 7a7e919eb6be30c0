import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after } from 'node:test';
import { getSharedServer, type SharedServer } from '../../server/db/shared/servers.ts';
import { type Serving, startServe } from '../../server/serve.ts';
import type { Site } from '../../server/site.ts';
import type { Mariadb } from './mariadb.ts';
import { makeSite, reopenSite } from './replication-sites.ts';

export type SharedNode = { readonly site: Site; readonly serving: Serving; close(): Promise<void> };

/** Settings for the database `name` of a MariaDB, with the password in a file under `root`. */
export async function sharedSetting(root: string, mariadb: Pick<Mariadb, 'port' | 'password'>, name: string) {
  await mkdir(root, { recursive: true });
  const passwordFile = join(root, 'password');
  await writeFile(passwordFile, `${mariadb.password}\n`, { mode: 0o600 });
  return { hosts: [`127.0.0.1:${mariadb.port}`], user: 'waystation', name, passwordFile };
}

type Setting = Awaited<ReturnType<typeof sharedSetting>>;

/** A server that meets others in that database: made, or opened again when `isMade`, and serving. */
export async function startSharedNode(root: string, name: string, database: Setting, isMade = false): Promise<SharedNode> {
  const site = await (isMade ? reopenSite : makeSite)(root, name, { database });
  const serving = await startServe(site);
  const close = async () => {
    await serving.close();
    await site.close();
  };
  // A test that fails must not leave a server that keeps its process alive.
  after(close);
  return { site, serving, close };
}

/** The row of a server, as another one reads it. */
export async function rowOf(site: Site, id = site.self.id): Promise<SharedServer | undefined> {
  return site.shared?.read('a test', (db) => getSharedServer(db, id));
}
