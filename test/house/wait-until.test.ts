import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitUntil } from '../helpers/wait-until.ts';
import { findLines, readTexts } from './source-files.ts';

test('a wait gives the answer as soon as there is one', async () => {
  let looks = 0;
  assert.equal(await waitUntil('a third look', () => ++looks === 3 && 'seen', { everyMs: 1 }), 'seen');
});

test('a wait in vain ends with what was waited for, and what there is instead; also when a look never ends', async () => {
  const state = async () => ({ run: 'failed' });
  await assert.rejects(
    waitUntil('the run', () => false, { limitMs: 20, state }),
    {
      message: 'the run was not so after 0.02 s; there is {"run":"failed"}',
    },
  );
  await assert.rejects(
    waitUntil('the run', () => new Promise<boolean>(() => undefined), { limitMs: 20, lookMs: 30 }),
    /was not so/,
  );
});

test('what the look throws ends the wait, or is its cause in the end', async () => {
  const flaw = new Error('refused');
  await assert.rejects(
    waitUntil('an answer', () => Promise.reject(flaw)),
    flaw,
  );
  await assert.rejects(
    waitUntil('an answer', () => Promise.reject(flaw), { limitMs: 20, despiteErrors: true }),
    { cause: flaw },
  );
});

test('a wait for what goes on beside it ends with that, and sees what is so at its end', async () => {
  const fails = sleep(20).then(() => {
    throw new Error('words of the run');
  });
  await assert.rejects(
    waitUntil('its transfer', () => false, { during: fails, everyMs: 1 }),
    /words of the run/,
  );
  await assert.rejects(
    waitUntil('its transfer', () => false, { during: sleep(20), everyMs: 1 }),
    /never will be/,
  );
  let state = '';
  const run = sleep(20).then(() => {
    state = 'transfer';
  });
  assert.equal(await waitUntil('its transfer', () => state === 'transfer', { during: run, everyMs: 15 }), true);
});

test('no test waits for an answer in a loop of its own, which would have no limit', () => {
  const loops = readTexts().filter(({ path }) => path.startsWith('test/') && path.endsWith('.ts'));
  assert.deepEqual(
    loops.flatMap((file) => findLines(file, /\bwhile \(!?\(*await (?!reader)|\bwhile \(.*\bsleep\(|\bwhile \(.*\bsetTimeout\(/)),
    [],
    'test/helpers/wait-until.ts has one',
  );
});
