import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { describeError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import type { MysqlConnection } from '../../server/db/dialect-mysql.ts';
import type { Lease } from '../../server/db/leases.ts';
import { takeNumbers } from '../../server/db/shared/counters.ts';
import { fenced, keepDuty } from '../../server/shared/leases.ts';
import { openShared } from '../../server/shared/open.ts';
import { Wake } from '../../server/wake.ts';

/**
 * A server's part that does one duty, as a process: says `held NUMBER` when it has the lease, and at each line of its input
 * tries to write under the lease that it held last, and says what came of it.
 */
const [text = '', name = '', id = ''] = process.argv.slice(2);
const shared = openShared(JSON.parse(text) as MysqlConnection, Date.now);
const stopping = new AbortController();
let last: Lease | undefined;
const work = async (lease: Lease) => {
  if (last?.fencing !== lease.fencing) console.log(`held ${lease.fencing}`);
  last = lease;
};
const site = { self: { id: id as Id, name: 'x' as never }, wake: new Wake(), log: { warn: () => {} } as never };
const duty = keepDuty(site, shared, { name, work, signal: stopping.signal });
const input = createInterface({ input: process.stdin });
input.on('line', async () => {
  const lease = last as Lease;
  const write = shared.write(
    'a test',
    async (trx) => {
      await fenced(trx, lease);
      await takeNumbers(trx, `written by ${id}`.slice(0, 64), 1);
    },
    'repeat',
  );
  console.log(
    await write.then(
      () => 'written',
      (error) => `refused ${describeError(error).code}`,
    ),
  );
});
await once(input, 'close');
stopping.abort();
await duty;
await shared.close();
