import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Knex } from 'knex';
import { listEvents } from '../../../server/db/events.ts';
import { setSharedState } from '../../../server/db/shared/servers.ts';
import type { ServerView } from '../../../server/panel/server-views.ts';
import { BEAT } from '../../../server/shared/heartbeat.ts';
import { type SharedView, sharedWords } from '../../../server/shared/view.ts';
import { eventually } from '../../helpers/control-sites.ts';
import { startMariadb } from '../../helpers/mariadb.ts';
import { runCli, runJson } from '../../helpers/run-cli.ts';
import { rowOf, sharedSetting, startSharedNode } from '../../helpers/shared-sites.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

const root = await temporaryDirectory('shared-serve');
const mariadb = await startMariadb();
after(() => mariadb.stop());
mariadb.createDatabase('meeting');
const database = await sharedSetting(root, mariadb, 'meeting');

/** `server show`, `server list`, `sync status` and doctor say the same. */
async function assertTold(dataDir: string, words: RegExp): Promise<void> {
  const show = await runJson<ServerView>(['server', 'show', 'hq', '--data', dataDir]);
  const list = await runJson<{ items: ServerView[] }>(['server', 'list', '--data', dataDir]);
  const sync = await runJson<{ shared: SharedView }>(['sync', 'status', '--data', dataDir]);
  for (const view of [show.document.shared, list.document.items[0]?.shared, sync.document.shared])
    assert.match(sharedWords(view as SharedView), words);
  const isAway = show.document.shared?.state === 'unreachable';
  const text = (await runCli(['server', 'list', '--data', dataDir])).stdout;
  assert.equal(/\nunreachable since 20.*: cannot be reached: ECONNREFUSED\n$/.test(text), isAway, text);
  const { stdout } = await runCli(['server', 'show', 'hq', '--data', dataDir]);
  assert.match(stdout, /shared database: \S/);
  const { document } = await runJson<{ items: { name: string; state: string }[] }>(['doctor', '--data', dataDir]);
  assert.equal(document.items.find(({ name }) => name === 'shared database')?.state, isAway ? 'warn' : 'ok');
}

test('a server registers, shows that it lives, and serves all the same when the database is away', async () => {
  const first = await startSharedNode(root, 'hq', database);
  const row = await eventually('the first heartbeat', async () => {
    const found = await rowOf(first.site);
    return found?.heartbeatAt ? found : undefined;
  });
  const port = new URL(first.serving.httpsUrl).port;
  assert.deepEqual([row.name, row.state, row.url], ['hq', 'active', `https://127.0.0.1:${port}`]);
  assert.equal((row.report as { name?: string } | null)?.name, 'hq');
  assert.equal(row.signer.keyId, first.site.keys.signerKeyId);
  await first.close();

  await mariadb.kill();
  const again = await startSharedNode(root, 'hq', database, true);
  await eventually('words about the database', async () => again.site.shared?.state().state === 'unreachable');
  assert.equal((await fetch(`${again.serving.httpUrl}/readyz`)).status, 200);
  await assertTold(
    again.site.dataDir,
    /^unreachable since 20.*: .*database "meeting" at 127\.0\.0\.1:\d+: cannot be reached: ECONNREFUSED$/,
  );
  const kinds = async () =>
    (await listEvents(again.site.db, { limit: 1000 })).map(({ kind }) => kind).filter((kind) => kind.startsWith('shared.'));
  await eventually('the event', async () => (await kinds()).includes('shared.unreachable'));
  await mariadb.start();
  const back = performance.now();
  await eventually('a heartbeat', async () => {
    const found = await rowOf(again.site).catch(() => undefined);
    return (found?.heartbeatAt ?? 0) > (row.heartbeatAt ?? 0);
  });
  assert.ok(performance.now() - back < 5000, `${performance.now() - back} ms`);
  await eventually('the event', async () => (await kinds()).at(-1) === 'shared.reached');
  await assertTold(again.site.dataDir, /^database "meeting" at 127\.0\.0\.1:\d+: connected since 20/);
  await again.close();
});

test('a database that was emptied has the tables and the server again by itself', async () => {
  const node = await startSharedNode(root, 'hq', database, true);
  await eventually('a heartbeat', async () => (await rowOf(node.site))?.heartbeatAt);
  // By its own connection: a statement of another process would wait here for a transaction that this process is in.
  await node.site.shared?.read('a test', (db) => db.raw('drop database meeting'));
  mariadb.sql('create database meeting');
  node.site.wake.notify(BEAT);
  await eventually('the row again', async () => (await rowOf(node.site).catch(() => undefined))?.heartbeatAt);
  await node.close();
});

test('a fenced server says so, serves, and does not take its row back', async () => {
  const node = await startSharedNode(root, 'hq', database, true);
  await eventually('a heartbeat', async () => (await rowOf(node.site))?.heartbeatAt);
  const fence = (trx: Knex.Transaction) => setSharedState(trx, node.site.self.id, { from: 'active', to: 'fenced' });
  await node.site.shared?.write('a test', fence, 'repeat', { fencesItself: true });
  node.site.wake.notify(BEAT);
  const state = await eventually('the problem', async () => {
    const found = node.site.shared?.state();
    return found?.state === 'connected' && found.problem !== null ? found : undefined;
  });
  assert.match(state.problem ?? '', /is fenced in the shared database/);
  assert.equal((await rowOf(node.site))?.state, 'fenced');
  await node.close();
});
