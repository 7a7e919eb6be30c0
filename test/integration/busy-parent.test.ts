import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { getServer } from '../../server/db/servers.ts';
import { openParent } from '../../server/replication/parent-client.ts';
import { onlyLink } from '../../server/replication.ts';
import { type LyingParent, sendJson, startLyingParent } from '../helpers/hostile/lying-parent.ts';
import { makePair } from '../helpers/replication-sites.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const root = await temporaryDirectory('busy-parent');
let pair: Awaited<ReturnType<typeof makePair>>;
let parent: LyingParent;

before(async () => {
  pair = await makePair(root);
  parent = await startLyingParent(pair.hq);
});
after(async () => {
  await parent.close();
  await pair.close();
});

/** Asks a parent that says it is in the middle of a run, for so long; `told` is what it answers who waits for the end. */
async function reach(told: unknown, waitMs: number): Promise<number> {
  parent.tell({
    catalogue: (honest) => ({ ...honest, tier: { ancestors: [], ring: null, busy: true } }),
    answer: (request, response) => {
      if (!request.url?.includes('/wait')) return false;
      sendJson(response, told);
      return true;
    },
  });
  const known = (await getServer(pair.branch.db, pair.hq.self.id)) ?? assert.fail();
  const client = openParent(pair.branch, { parent: { ...known, url: parent.url }, link: await onlyLink(pair.branch), waitMs });
  try {
    await client.reach();
    return client.traffic().requests;
  } finally {
    client.close(false);
  }
}

test('a parent that is busy and answers at once whoever waits is not asked without a pause', async () => {
  const requests = await reach({ epoch: 0, generation: 0, busy: true }, 2_500);
  assert.ok(requests <= 5, `${requests} requests in 2.5 s`);
  const turning = await reach({ epoch: 0, generation: 0, busy: false }, 2_500);
  assert.ok(turning <= 8, `${turning} requests in 2.5 s of one that is busy again each time`);
});

test('an answer to the wait that is none is refused in words', async () => {
  for (const told of ['', 'null', { busy: 'perhaps' }]) await assert.rejects(reach(told, 2_500), { code: 'version_mismatch' });
});
