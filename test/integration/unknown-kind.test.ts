import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerCatalogue, publishObject } from '../../server/catalogue.ts';
import { getObject } from '../../server/db/objects.ts';
import { inTransaction } from '../../server/db/open.ts';
import { runOnce } from '../../server/replication.ts';
import { makePair } from '../helpers/replication-sites.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

test('an object of a kind that a later release makes is kept and passed on as it is, and stops nothing', async (t) => {
  const { hq, branch, close } = await makePair(await temporaryDirectory('unknown-kind'));
  t.after(close);
  const publish = (kind: string) =>
    inTransaction(hq.db, (trx) => publishObject(hq, trx, { kind: kind as 'image', body: { made: 'later' } }));
  const object = await publish('firmware');
  const ended = await runOnce(branch, { trigger: 'command' });
  assert.deepEqual([ended.state, ended.error], ['done', null]);
  assert.deepEqual(await getObject(branch.db, object.id), object);
  const told = await answerCatalogue(branch, { epoch: 0, since: 0 });
  assert.deepEqual(
    told.objects.find(({ id }) => id === object.id),
    object,
  );
  await inTransaction(hq.db, (trx) => publishObject(hq, trx, { kind: object.kind, id: object.id, body: null }));
  assert.equal((await runOnce(branch, { trigger: 'command' })).state, 'done');
  assert.equal((await getObject(branch.db, object.id))?.body, null);
});
