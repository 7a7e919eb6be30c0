import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { newId } from '../../../core/ids.ts';
import { acquireLease } from '../../../server/db/leases.ts';
import { migrateDatabase } from '../../../server/db/migrate.ts';
import { connectDatabase } from '../../../server/db/open.ts';
import { adoptRun, getRun, insertRun, updateRun } from '../../../server/db/runs.ts';
import { stopProcess } from '../../helpers/stop-process.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';
import { waitUntil } from '../../helpers/wait-until.ts';

const HOLDER = fileURLToPath(new URL('../../helpers/lease-holder.ts', import.meta.url));
const TTL_MS = 500;

test('a process that was stopped while it held a link writes nothing more once another has taken over', async () => {
  const directory = await temporaryDirectory('stopped-holder');
  const db = await connectDatabase({ database: 'sqlite' }, directory);
  after(() => db.destroy());
  await migrateDatabase(db);
  const linkId = newId();
  const run = { id: newId(), linkId, state: 'waiting-parent', trigger: 'command', fencing: 0, startedAt: 1 } as const;
  await insertRun(db, run);
  const holder = spawn(process.execPath, ['--no-warnings', HOLDER, directory, linkId, String(TTL_MS)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  after(() => holder.kill('SIGKILL'));
  const lines = createInterface({ input: holder.stdout })[Symbol.asyncIterator]();
  const say = async () => {
    holder.stdin.write('\n');
    return (await lines.next()).value;
  };
  assert.equal((await lines.next()).value, 'held');
  assert.equal(await say(), 'renewed written');
  await stopProcess(holder.pid as number);
  const wish = { name: `link:${linkId}`, holder: 'heir', ttlMs: 60_000 };
  assert.equal(await acquireLease(db, { ...wish, now: Date.now() - 60_000 }), undefined, 'the lease is in force');
  const lease = await waitUntil('the lease ends', () => acquireLease(db, { ...wish, now: Date.now() }));
  const adopted = await adoptRun(db, linkId, lease.fencing);
  assert.deepEqual([adopted?.id, lease.fencing], [run.id, 2]);
  await updateRun(db, { id: run.id, state: 'waiting-parent', fencing: 2 }, { bytesReceived: 7 });
  holder.kill('SIGCONT');
  assert.equal(await say(), 'lost run_in_progress');
  assert.equal((await getRun(db, run.id))?.bytesReceived, 7);
  const ended = once(holder, 'exit');
  holder.stdin.end();
  assert.deepEqual(await ended, [0, null]);
});
