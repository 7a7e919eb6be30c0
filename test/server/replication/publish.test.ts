import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Envelope } from '../../../core/envelope.ts';
import { newId } from '../../../core/ids.ts';
import { getObject } from '../../../server/db/objects.ts';
import { inTransaction } from '../../../server/db/open.ts';
import { publishReplicas } from '../../../server/replication/publish.ts';
import { hashOf } from '../../helpers/digests.ts';
import { makeSite } from '../../helpers/replication-sites.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

test('objects without news of contents are stored without looking through what is known, whatever that is', async () => {
  const site = await makeSite(await temporaryDirectory('publish'), 'branch');
  try {
    const digest = hashOf('x') as Envelope['digest'];
    const body = { type: 'of-a-later-release', name: 'x', content: {} };
    const envelope: Envelope = { kind: 'document', id: newId(), origin: newId(), revision: 1, body, digest, keyId: digest, signature: 's' };
    const statements: string[] = [];
    site.db.on('query', ({ sql }: { sql: string }) => statements.push(sql));
    const { taken } = await inTransaction(site.db, (trx) => publishReplicas(site, trx, [envelope], { at: 1 }));
    assert.equal(taken, 1);
    assert.deepEqual(await getObject(site.db, envelope.id), envelope);
    const whole = statements.filter((sql) => /from `(images|objects)`/.test(sql) && !/where `id` = /.test(sql));
    assert.deepEqual(whole, []);
  } finally {
    await site.close();
  }
});
