import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '../../../core/ids.ts';
import { MIGRATIONS } from '../../../migrations/index.ts';
import { connectDatabase } from '../../../server/db/open.ts';
import { listReported } from '../../../server/db/reported.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

const OURS = '0014-large-sites';

test('orders that were told before an upgrade are found by their target after it, however many and whoever told them', async () => {
  const db = await connectDatabase({ database: 'sqlite' }, await temporaryDirectory('upgrade'));
  for (const { up } of MIGRATIONS.filter(({ name }) => name < OURS)) await up(db);
  const [targetId, other] = [newId(1), newId(2)];
  const row = (n: number, body: object | null) => {
    return {
      origin: newId(n % 2),
      kind: 'order',
      subject: newId(1000 + Math.floor(n / 2)),
      seq: n,
      at: 1,
      body: body && JSON.stringify(body),
    };
  };
  const rows = Array.from({ length: 1203 }, (_, n) => row(n, { targetId: n % 100 === 0 ? targetId : other }));
  for (const one of [...rows, row(2000, null), row(2001, { targetId: 5 }), row(2002, [])]) await db('reported').insert(one);
  await MIGRATIONS.find(({ name }) => name === OURS)?.up(db);
  const found = await listReported(db, 'order', { targetId, limit: 100 });
  assert.deepEqual(
    found.map(({ seq }) => seq).sort((a, b) => a - b),
    Array.from({ length: 13 }, (_, n) => n * 100),
  );
  await db.destroy();
});
