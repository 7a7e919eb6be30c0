import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunkDigest } from '../../../core/content/frame.ts';
import { EMPTY_PLAN, type RunPlan } from '../../../sync/replicate/plan.ts';
import type { RunTools } from '../../../sync/replicate/ports.ts';
import { checkComplete } from '../../../sync/replicate/verify.ts';

const [base, wanted] = [chunkDigest(Buffer.from('base')), chunkDigest(Buffer.from('wanted'))];

/** A store to which the wanted image stays incomplete. */
const tools = { store: { missingOf: async () => ({ chunks: 1, rawBytes: 1, complete: [] }) } } as unknown as RunTools;

test('what delta frames could not bring is asked for in plain ones, and then without relying on anything of ours', async () => {
  const first: RunPlan = {
    ...EMPTY_PLAN,
    want: [wanted],
    have: [base],
    archive: { key: 'a'.repeat(64), parts: [] },
    unpacked: ['b'.repeat(64)],
  };
  const second = await checkComplete(tools, first);
  assert.equal(second.event, 'lacking');
  assert.deepEqual(second.plan, { ...first, isPlain: true, archive: null, unpacked: [] });
  const third = await checkComplete(tools, second.plan);
  assert.deepEqual(third.plan, { ...second.plan, have: [] });
});
