import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunkDigest } from '../../../core/content/frame.ts';
import { AppError } from '../../../core/errors.ts';
import type { Digest } from '../../../core/ids.ts';
import { type BaseTools, basesFor } from '../../../sync/replicate/bases.ts';

const digestsOf = (kind: string, count: number): Digest[] => Array.from({ length: count }, (_, n) => chunkDigest(Buffer.from(kind + n)));
const [wanted = assert.fail()] = digestsOf('wanted', 1);

type Here = { readonly isHere: (manifest: Digest) => boolean; readonly isDamaged?: (manifest: Digest) => boolean };

function toolsFor(
  related: readonly (readonly Digest[])[],
  { isHere, isDamaged = () => false }: Here,
): BaseTools & { readonly kept: Digest[] } {
  const kept: Digest[] = [];
  const missingOf: BaseTools['store']['missingOf'] = async (manifests, options) => {
    if (manifests.some(isDamaged)) throw new AppError('corrupt', 'a page is damaged');
    const complete = manifests.filter(isHere);
    if (options?.areToStay) kept.push(...manifests);
    return { chunks: 0, rawBytes: 0, complete };
  };
  return { store: { missingOf }, records: { relatedManifests: async () => related }, kept };
}

test('an image builds on complete versions, never on itself, and only what is named is kept', async () => {
  const own = digestsOf('own', 3);
  const tools = toolsFor([[wanted, ...own]], { isHere: (one) => one !== own[0] });
  assert.deepEqual(await basesFor(tools, [wanted], []), own.slice(1).sort());
  assert.deepEqual(tools.kept.sort(), own.slice(1).sort());
});

test('a damaged version is not built on, and says nothing against the others', async () => {
  const own = digestsOf('own', 4);
  const tools = toolsFor([own], { isHere: () => true, isDamaged: (one) => one === own[2] });
  assert.deepEqual(await basesFor(tools, [wanted], []), own.filter((one) => one !== own[2]).sort());
});

test('of very many versions the best of each image are named, and a request stays below 100 KB', async () => {
  const related = Array.from({ length: 700 }, (_, n) => digestsOf(`image ${n} `, 5));
  const have = await basesFor(toolsFor(related, { isHere: () => true }), [wanted], []);
  assert.ok(related.every(([best = wanted]) => have.includes(best)));
  assert.ok(JSON.stringify(have).length < 100_000);
});

test('what a collection took between the two looks is not promised', async () => {
  const own = digestsOf('own', 2);
  let looks = 0;
  const tools = toolsFor([own], { isHere: (one) => one !== own[0] || ++looks === 1 });
  assert.deepEqual(await basesFor(tools, [wanted], []), own.slice(1));
});
