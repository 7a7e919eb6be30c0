import assert from 'node:assert/strict';
import { after, it } from 'node:test';
import { newId } from '../../../core/ids.ts';
import { createOperatorToken } from '../../../server/db/operator-tokens.ts';
import { hashOf } from '../../helpers/digests.ts';
import { runCli, runJson } from '../../helpers/run-cli.ts';
import { waitUntil } from '../../helpers/wait-until.ts';
import { serveTestSite } from './site.ts';

const served = await serveTestSite();
after(() => served.close());
const { site, serving, operatorToken } = served;
const remote = ['--url', serving.httpsUrl, '--ca-pin', site.keys.caPin];
type Lines = { items: { n: number }[]; next: null };

it('an operator reads the log of a server by its URL, by order or target', async () => {
  for (let n = 0; n < 6; n++) site.log.info('step', { n, orderId: `o${n % 2}`, targetId: `t${n % 3}` });
  const env = { WAYSTATION_TOKEN: operatorToken };
  const read = async (...args: string[]) => {
    const { document } = await runJson<Partial<Lines>>(['logs', ...remote, ...args], { env });
    // Until its first line is there, nobody knows of an order of that name.
    return (document.items ?? []).map(({ n }) => n);
  };
  // Lines reach the file a moment later.
  await waitUntil('the lines are in the file', async () => (await read('--order', 'o1')).length >= 3);
  assert.deepEqual(await read('--order', 'o1'), [1, 3, 5]);
  assert.deepEqual(await read('--target', 'T0'), [0, 3]);
  assert.deepEqual(await read('--target', 't0', '--lines', '1'), [3]);
  assert.equal((await runCli(['logs', ...remote, '--run', 'nope'], { env })).code, 66);
});

it('nobody else does: no token, a wrong one, or one of a viewer', async () => {
  const viewer = `wst_${'v'.repeat(43)}`;
  await createOperatorToken(site.db, { id: newId(), name: 'v', hash: hashOf(viewer), role: 'viewer', createdAt: 1, expiresAt: null });
  for (const token of ['', `wst_${'x'.repeat(43)}`, viewer]) {
    const { code, document } = await runJson<{ error: { code: string } }>(['logs', ...remote], { env: { WAYSTATION_TOKEN: token } });
    assert.equal(code, 77, document.error.code);
  }
  assert.equal((await runCli(['logs', ...remote, '--follow'], { env: { WAYSTATION_TOKEN: operatorToken } })).code, 64);
});

it('a request that is refused has its code in the log', async () => {
  const env = { WAYSTATION_TOKEN: operatorToken };
  assert.equal((await runCli(['image', 'pin', 'none@1', ...remote], { env })).code, 66);
  type Requests = { items: { event: string; path?: string; code?: string }[] };
  const refused = async () =>
    (await runJson<Requests>(['logs', ...remote], { env })).document.items.find(({ path }) => path?.endsWith('/pin'));
  await waitUntil('the line is in the file', refused);
  assert.equal((await refused())?.code, 'not_found');
});
