import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Id, newId } from '../../../core/ids.ts';
import type { MysqlConnection } from '../../../server/db/dialect-mysql.ts';
import { replaceSent } from '../../../server/db/shared/commands.ts';
import { newestNumber } from '../../../server/db/shared/counters.ts';
import { acquireSharedLease } from '../../../server/db/shared/leases.ts';
import { putSharedEvents } from '../../../server/db/shared/reports.ts';
import { setSharedState } from '../../../server/db/shared/servers.ts';
import { tidyShared } from '../../../server/db/shared/tidy.ts';
import { tellSilence } from '../../../server/shared/chores.ts';
import { openShared } from '../../../server/shared/open.ts';
import { eventually } from '../../helpers/control-sites.ts';
import { startMariadb } from '../../helpers/mariadb.ts';
import { rowOf, sharedSetting, startSharedNode } from '../../helpers/shared-sites.ts';
import { stopProcess } from '../../helpers/stop-process.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

const HOLDER = fileURLToPath(new URL('../../helpers/shared-lease-holder.ts', import.meta.url));
const root = await temporaryDirectory('shared-leases');
const mariadb = await startMariadb();
after(() => mariadb.stop());
mariadb.createDatabase('meeting');
const connection: MysqlConnection = {
  ...{ kind: 'mysql', hosts: [`127.0.0.1:${mariadb.port}`], user: 'waystation', name: 'meeting', password: mariadb.password },
};
const shared = openShared(connection, Date.now);
after(() => shared.close());
await shared.prepare();

type Holder = { readonly child: ChildProcess; readonly id: string; next(): Promise<string>; say(): Promise<string> };

function startHolder(): Holder {
  const id = newId();
  const child = spawn(process.execPath, ['--no-warnings', HOLDER, JSON.stringify(connection), 'duty', id], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  after(() => child.kill('SIGKILL'));
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  const next = async () => (await lines.next()).value as string;
  const say = () => {
    child.stdin?.write('\n');
    return next();
  };
  return { child, id, next, say };
}

test('a duty has one holder; a stopped one is followed within 30 s, and writes nothing when it wakes up', async () => {
  const first = startHolder();
  assert.equal(await first.next(), 'held 1');
  const second = startHolder();
  assert.equal(await first.say(), 'written');
  await stopProcess(first.child.pid as number);
  const stopped = performance.now();
  assert.equal(await second.next(), 'held 2');
  const ms = performance.now() - stopped;
  console.log(`handed over after ${Math.round(ms)} ms`);
  assert.ok(ms < 30_000);
  assert.equal(await second.say(), 'written');
  first.child.stdin?.write('\n');
  first.child.kill('SIGCONT');
  assert.equal(await first.next(), 'refused run_in_progress');
  const written = (id: string) => shared.read('a test', (db) => newestNumber(db, `written by ${id}`));
  assert.deepEqual([await written(first.id), await written(second.id)], [1, 1]);
  // Who stops in order gives the lease back: nobody waits for its end.
  second.child.stdin?.end();
  first.child.stdin?.end();
  await eventually('the free lease', () =>
    shared.read('a test', (db) => acquireSharedLease(db, { name: 'duty', holder: 'x', ttlMs: 1000 })),
  );
});

test('a server that falls silent, and is heard again, is told once over all servers', async () => {
  const setting = await sharedSetting(root, mariadb, 'meeting');
  const [hq, branch] = [await startSharedNode(root, 'hq', setting), await startSharedNode(root, 'branch', setting)];
  const beaten = () => rowOf(hq.site, branch.site.self.id);
  await eventually('both have beaten', async () => (await beaten())?.heartbeatAt && (await rowOf(hq.site))?.heartbeatAt);
  await branch.close();
  const lease = await eventually('the lease', () =>
    shared.read('a test', (db) => acquireSharedLease(db, { name: 'silence', holder: 'hq', ttlMs: 60_000 })),
  );
  const TOLD = ['server.silent', 'server.heard-again'];
  const find = () => hq.site.db('events').where({ subject: branch.site.self.id }).whereIn('kind', TOLD);
  const events = async () => (await find().orderBy('seq').pluck('kind')) as string[];
  await tellSilence(hq.site, shared, lease);
  assert.deepEqual(await events(), []);
  mariadb.sql("update meeting.shared_servers set heartbeat_at = heartbeat_at - 61000 where name = 'branch'");
  await tellSilence(hq.site, shared, lease);
  await tellSilence(hq.site, shared, lease);
  assert.deepEqual(await events(), ['server.silent']);
  assert.ok((await beaten())?.silentAt);
  mariadb.sql("update meeting.shared_servers set heartbeat_at = silent_at + 5 where name = 'branch'");
  await tellSilence(hq.site, shared, lease);
  assert.deepEqual(await events(), ['server.silent', 'server.heard-again']);
  assert.equal((await beaten())?.silentAt, null);
  // Who has lost the lease notes and tells nothing.
  mariadb.sql("update meeting.shared_servers set heartbeat_at = heartbeat_at - 61000 where name = 'branch'");
  mariadb.sql("update meeting.shared_leases set fencing = fencing + 1 where name = 'silence'");
  await assert.rejects(tellSilence(hq.site, shared, lease), { code: 'run_in_progress' });
  assert.deepEqual([(await beaten())?.silentAt, await events()], [null, ['server.silent', 'server.heard-again']]);
  await hq.close();
});

test('events are old by the clock of who told them: one that is years behind, or was for a moment, loses nothing that is new', async () => {
  const [branch] = await shared.read('a test', (db) => db('shared_servers').where({ name: 'branch' }));
  const [day, year] = [86_400_000, 365 * 86_400_000];
  const put = (origin: Id, ats: readonly number[]) => {
    const events = ats.map((at, n) => ({ seq: n + 1, at, actor: 'system', kind: 'x.y', subject: 'x', data: {} }));
    return shared.write('a test', (trx) => putSharedEvents(trx, origin, events), 'repeat');
  };
  const left = async (ats: readonly number[]) => {
    await shared.write('a test', (trx) => trx('shared_events').delete(), 'repeat');
    await put(branch.id, ats);
    await shared.write('a test', (trx) => tidyShared(trx, 90 * day), 'repeat');
    return (await shared.read('a test', (db) => db('shared_events').orderBy('seq').pluck('seq'))).map(Number);
  };
  const now = Date.now();
  const behind = now - 5 * year;
  assert.deepEqual(await left([behind - 91 * day, behind - 1 * day, behind]), [2, 3]);
  assert.deepEqual(await left([now - 91 * day, now - day, behind, now]), [2, 3, 4]);
  assert.deepEqual(await left([now - 91 * day, now - day, now + year]), [2, 3]);
});

test('what nobody will ask for goes: old events, commands for servers that left', async () => {
  const [branch] = await shared.read('a test', (db) => db('shared_servers').where({ name: 'branch' }));
  const event = (seq: number, at: number) => ({ seq, at, actor: 'system', kind: 'x.y', subject: 'x', data: {} });
  const way = { sender: newId(), receiver: branch.id };
  const facts = { seq: 1, after: 0, id: newId(), dest: branch.id, origin: way.sender, kind: 'k', body: {}, actor: 'a', createdAt: 1 };
  await shared.write('a test', (trx) => trx('shared_events').delete(), 'repeat');
  await shared.write('a test', (trx) => putSharedEvents(trx, branch.id, [event(1, 5), event(2, Date.now())]), 'repeat');
  await shared.write('a test', (trx) => replaceSent(trx, way, [], [{ ...way, ...facts, keyId: 'k', signature: 's' }]), 'repeat');
  const tidy = () => shared.write('a test', (trx) => tidyShared(trx, 86_400_000), 'repeat');
  assert.deepEqual([await tidy(), await tidy()], [1, 0]);
  await shared.write('a test', (trx) => setSharedState(trx, branch.id, { from: 'active', to: 'retired' }), 'repeat');
  assert.deepEqual([await tidy(), await tidy()], [1, 0]);
  assert.deepEqual((await shared.read('a test', (db) => db('shared_events').pluck('seq'))).map(Number), [2]);
});
