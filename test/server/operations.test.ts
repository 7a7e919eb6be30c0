import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../core/errors.ts';
import { findOperation, type OperationSite, startOperation } from '../../server/operations.ts';
import { Wake } from '../../server/wake.ts';
import { waitUntil } from '../helpers/wait-until.ts';

const newSite = (): OperationSite => ({
  wake: new Wake(),
  now: Date.now,
  log: { info: () => undefined } as unknown as OperationSite['log'],
});

async function ended(site: OperationSite, id: string) {
  await waitUntil('the operation ended', () => findOperation(site, id)?.state !== 'running');
  return findOperation(site, id);
}

test('an operation shows its progress and ends with the result', async () => {
  const site = newSite();
  let finish = () => {};
  const gate = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const { id, state } = startOperation(site, 'import', async (report) => {
    report(25, 100);
    await gate;
    return { name: 'done' };
  });
  assert.equal(state, 'running');
  const running = findOperation(site, id);
  assert.deepEqual([running?.progress?.percent, running?.progress?.stage], [25, 'import']);
  finish();
  assert.deepEqual((await ended(site, id))?.result, { name: 'done' });
});

test('an operation that fails keeps the code, the words and the hint', async () => {
  const site = newSite();
  const { id } = startOperation(site, 'import', async () => {
    throw new AppError('bad_data', 'not an image', { hint: 'look' });
  });
  const operation = await ended(site, id);
  assert.deepEqual([operation?.state, operation?.error], ['failed', { code: 'bad_data', message: 'not an image', hint: 'look' }]);
});

test('old operations are forgotten, running ones never', async () => {
  const site = newSite();
  const running = startOperation(site, 'check', () => new Promise(() => {}));
  const first = startOperation(site, 'check', async () => null);
  await ended(site, first.id);
  for (let n = 0; n < 120; n++) await ended(site, startOperation(site, 'check', async () => null).id);
  assert.equal(findOperation(site, first.id), undefined);
  assert.equal(findOperation(site, running.id)?.state, 'running');
});
