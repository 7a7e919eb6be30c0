import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { openShared } from '../../../server/shared/open.ts';
import { startCuttingProxy } from '../../helpers/cutting-proxy.ts';
import { startMariadb } from '../../helpers/mariadb.ts';

const mariadb = await startMariadb();
const proxy = await startCuttingProxy(mariadb.port);
mariadb.createDatabase('meeting');
after(async () => {
  await proxy.close();
  await mariadb.stop();
});

test('a host that greets and then says nothing is left for the next one', { timeout: 60_000 }, async () => {
  const hosts = [`127.0.0.1:${proxy.port}`, `127.0.0.1:${mariadb.port}`];
  const shared = openShared({ kind: 'mysql', hosts, user: 'waystation', name: 'meeting', password: mariadb.password }, Date.now);
  proxy.cutAt('TRADITIONAL', 'mute');
  const asked = performance.now();
  assert.ok((await shared.prepare()).length > 0);
  assert.ok(performance.now() - asked < 12_000, `it took ${performance.now() - asked} ms`);
  assert.equal(proxy.cuts(), 1);
  await shared.close();
});
