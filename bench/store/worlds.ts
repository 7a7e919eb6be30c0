import { join } from 'node:path';
import { openShared, type Shared } from '../../server/shared/open.ts';
import type { Mariadb } from '../../test/helpers/mariadb.ts';
import { LARGE, type Size, SMALL } from '../../test/helpers/scale/sizes.ts';
import { fillSite } from '../../test/helpers/scale/world.ts';
import { sharedSetting } from '../../test/helpers/shared-sites.ts';
import { type RunningSite, runSite } from './running-site.ts';

/** How much less the large one has with --quick. */
const QUICK: Size = { ...LARGE, targets: 1_000, orders: 10_000, servers: 50 };

export type Pair = { readonly small: RunningSite; readonly large: RunningSite; stop(): Promise<void> };

/** A small and a large site that stand alone, or of which each meets its servers in a database of its own. */
export async function runPair(root: string, { mariadb, isQuick }: { mariadb?: Mariadb; isQuick: boolean }): Promise<Pair> {
  const made = async (kind: string, size: Size) => {
    const name = `${kind}-${mariadb === undefined ? 'alone' : 'meeting'}`;
    if (mariadb === undefined) await fillSite(root, name, size);
    else await fillMeeting(root, name, size, mariadb);
    return runSite(join(root, name), size);
  };
  const small = await made('small', SMALL);
  const large = await made('large', isQuick ? QUICK : LARGE);
  return {
    small,
    large,
    stop: async () => {
      await small.stop();
      await large.stop();
    },
  };
}

async function fillMeeting(root: string, name: string, size: Size, mariadb: Mariadb): Promise<void> {
  const shared = await openMeeting(mariadb, databaseOf(name));
  try {
    await shared.prepare();
    await fillSite(root, name, size, { flags: { database: await sharedSetting(root, mariadb, databaseOf(name)) }, shared });
  } finally {
    await shared.close();
  }
}

function databaseOf(name: string): string {
  return name.replaceAll('-', '_');
}

/** A handle on one of these databases, made when it is not there. The caller closes. */
export async function openMeeting(mariadb: Mariadb, name: string): Promise<Shared> {
  if (mariadb.ask(`show databases like '${name}'`).trim() === '') mariadb.createDatabase(name);
  return openShared(
    { kind: 'mysql', hosts: [`127.0.0.1:${mariadb.port}`], user: 'waystation', name, password: mariadb.password },
    Date.now,
  );
}
