import { createInterface } from 'node:readline';
import { describeError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { acquireLease, renewLease } from '../../server/db/leases.ts';
import { openDatabase } from '../../server/db/open.ts';
import { adoptRun, updateRun } from '../../server/db/runs.ts';

/**
 * A process that holds a link's lease: takes it and the link's unfinished run, says `held`, and at each line of its
 * input tries to write as the holder and says what came of it.
 */
const [directory = '', linkId = '', ttlMs = '0'] = process.argv.slice(2);
const db = await openDatabase({ database: 'sqlite' }, directory);
const name = `link:${linkId}`;
const lease = await acquireLease(db, { name, holder: 'stopped', ttlMs: Number(ttlMs), now: Date.now() });
const run = lease && (await adoptRun(db, linkId as Id, lease.fencing));
console.log(lease && run ? 'held' : 'not held');
for await (const _line of createInterface({ input: process.stdin })) {
  if (lease === undefined || run === undefined) break;
  const isRenewed = await renewLease(db, lease, { ttlMs: Number(ttlMs), now: Date.now() });
  const written = await updateRun(db, { id: run.id, state: run.state, fencing: lease.fencing }, { bytesReceived: 1 }).then(
    () => 'written',
    (error) => describeError(error).code,
  );
  console.log(`${isRenewed ? 'renewed' : 'lost'} ${written}`);
}
await db.destroy();
