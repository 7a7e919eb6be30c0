import assert from 'node:assert/strict';
import { appendFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { takeLock } from '../../server/lock.ts';
import { openSite } from '../../server/open-site.ts';
import { readLog } from '../../server/read-log.ts';
import { initialisedDirectory } from '../helpers/initialised-directory.ts';
import { CLEAN_ENV } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const env = CLEAN_ENV;

it('opens what init made, twice in a row, and gives everything back', async () => {
  const { dataDir, fingerprint } = await initialisedDirectory();
  for (const round of [1, 2]) {
    const site = await openSite({ dataDir, env, flags: { logLevel: 'debug' }, now: () => 42 });
    assert.deepEqual(
      [site.self.name, site.config.httpPort, site.config.logLevel, site.keys.caPin, site.now()],
      ['hq', 0, 'debug', fingerprint, 42],
    );
    assert.equal((await site.store.stats()).chunks, 0);
    site.log.info('round', { round });
    await site.close();
    await site.close();
  }
  assert.deepEqual(
    (await readLog(dataDir, {}, 10)).map((line) => line['round']),
    [1, 2],
  );
});

it('is opened by one at a time', async () => {
  const { dataDir } = await initialisedDirectory();
  const site = await openSite({ dataDir, env });
  try {
    await assert.rejects(openSite({ dataDir, env }), { code: 'directory_in_use', message: new RegExp(`process ${process.pid}`) });
  } finally {
    await site.close();
  }
});

it('says that nothing is there yet', async () => {
  const dataDir = await temporaryDirectory('site');
  await assert.rejects(openSite({ dataDir, env }), { code: 'not_found', hint: /waystation init/ });
  assert.deepEqual(await readdir(dataDir), []);
});

it('gives back the lock and the database after every failure half way', async () => {
  const failures: readonly (readonly [string, (dataDir: string) => Promise<void>, string])[] = [
    ['an unknown key', (dir) => appendFile(join(dir, 'waystation.yaml'), 'htpPort: 1\n'), 'config'],
    ['a missing database', (dir) => rm(join(dir, 'db.sqlite')), 'config'],
    ['an unreadable key', (dir) => rm(join(dir, 'keys', 'signing.key')), 'unreadable_secret'],
    ['an empty key', (dir) => writeFile(join(dir, 'keys', 'ca.key'), ''), 'unreadable_secret'],
    ['another server', (dir) => writeFile(join(dir, 'server-id'), '01a1f91a-fd57-7134-ae5d-0e88b9fb4b2a\n'), 'config'],
  ];
  for (const [what, damage, code] of failures) {
    const { dataDir } = await initialisedDirectory();
    await damage(dataDir);
    await assert.rejects(openSite({ dataDir, env }), { code }, what);
    (await takeLock(dataDir)).release();
  }
});
