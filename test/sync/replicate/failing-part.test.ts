import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ArchivePart } from '../../../core/sync-protocol.ts';
import { lockPart } from '../../../sync/replicate/incoming.ts';
import { EMPTY_PLAN } from '../../../sync/replicate/plan.ts';
import type { RunTools } from '../../../sync/replicate/ports.ts';
import { transferParts } from '../../../sync/replicate/transfer.ts';
import { openPipeListener } from '../../../sync/tunnel/pipe-listener.ts';
import { endInReverse } from '../../helpers/end-in-reverse.ts';
import { openedStore, temporaryDirectory } from '../content/fixtures.ts';

/** A part that has arrived whole and is nothing that can be unpacked. */
async function rubbish(incoming: string, bytes: number): Promise<ArchivePart> {
  const octets = Buffer.alloc(bytes, 'rubbish');
  const name = createHash('sha256').update(octets).digest('hex');
  await mkdir(join(incoming, name), { recursive: true });
  await writeFile(join(incoming, name, name), octets);
  return { name, sizeBytes: bytes, rawBytes: bytes, frames: 1 };
}

/** Parts that are here already need no parent: what would reach one is not given. */
async function toolsWithStore(t: TestContext): Promise<RunTools> {
  const directory = await temporaryDirectory(t);
  const tools: Partial<RunTools> = {
    store: await openedStore(t, join(directory, 'store')),
    incoming: join(directory, 'incoming'),
    records: {
      save: async () => undefined,
      wantedManifests: async () => [],
      relatedManifests: async () => [],
      publish: async () => undefined,
    },
    freeBytes: async () => Number.MAX_SAFE_INTEGER,
    reserveBytes: 0,
    monotonicMs: () => performance.now(),
    signal: new AbortController().signal,
  };
  return tools as RunTools;
}

test('a part that cannot be unpacked while the next one arrives fails the transfer, not the server', async (t) => {
  const tools = await toolsWithStore(t);
  const parts = [await rubbish(tools.incoming, 100), await rubbish(tools.incoming, 60_000_000)];
  const unhandled: unknown[] = [];
  const note = (error: unknown) => unhandled.push(error);
  process.on('unhandledRejection', note);
  endInReverse(t, () => process.off('unhandledRejection', note));
  await assert.rejects(transferParts(tools, { ...EMPTY_PLAN, archive: { key: 'any', parts } }), { code: 'bad_data' });
  assert.deepEqual(unhandled, []);
  // The part that arrived meanwhile is let go: the next run takes it up at once.
  for (const { name } of parts) await (await lockPart(tools.incoming, name, { waitSeconds: 0 })).release();
});

test('a part that cannot be read goes; the good one that arrived behind it stays', async (t) => {
  const tools = await toolsWithStore(t);
  const [bad, good] = [await rubbish(tools.incoming, 100), await rubbish(tools.incoming, 200)];
  await assert.rejects(transferParts(tools, { ...EMPTY_PLAN, archive: { key: 'any', parts: [bad, good] } }), { code: 'bad_data' });
  assert.deepEqual(await readdir(tools.incoming), [good.name]);
  assert.equal((await stat(join(tools.incoming, good.name, good.name))).size, 200);
});

test('a part that cannot be read fails the transfer at once, however long the next one would take', { timeout: 30_000 }, async (t) => {
  const tools = await toolsWithStore(t);
  const pipes = await openPipeListener(join(tools.incoming, '..', 'pipes.sock'));
  endInReverse(t, () => pipes.close());
  const never = new Promise<never>(() => undefined);
  const content = { requestArchive: () => never, openTunnel: () => never };
  const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
  const bad = await rubbish(tools.incoming, 100);
  const coming = { name: 'a'.repeat(64), sizeBytes: 1_000_000, rawBytes: 1, frames: 1 };
  const plan = { ...EMPTY_PLAN, archive: { key: 'any', parts: [bad, coming] } };
  await assert.rejects(transferParts({ ...tools, pipes, content, sleep, onRsyncBytes: () => undefined, patience: 1 }, plan), {
    code: 'bad_data',
  });
});

test('an rsync that cannot run on this machine is told as that, not as a link that broke', async (t) => {
  const tools = await toolsWithStore(t);
  const directory = join(tools.incoming, '..');
  const pipes = await openPipeListener(join(directory, 'pipes.sock'));
  await mkdir(join(directory, 'bin'));
  const words = 'rsync: error while loading shared libraries: libpopt.so.0';
  await writeFile(join(directory, 'bin', 'rsync'), `#!/bin/sh\necho '${words}' >&2\nexit 127\n`, { mode: 0o755 });
  const { PATH } = process.env;
  process.env['PATH'] = `${join(directory, 'bin')}:${PATH}`;
  endInReverse(t, async () => {
    process.env['PATH'] = PATH;
    await pipes.close();
  });
  const never = new Promise<never>(() => undefined);
  const content = { requestArchive: () => never, openTunnel: () => never };
  const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms / 10));
  const coming = { name: 'a'.repeat(64), sizeBytes: 1_000_000, rawBytes: 1, frames: 1 };
  const plan = { ...EMPTY_PLAN, archive: { key: 'any', parts: [coming] } };
  await assert.rejects(transferParts({ ...tools, pipes, content, sleep, onRsyncBytes: () => undefined, patience: 1 }, plan), {
    code: 'missing_program',
    message: /cannot run on this machine: .*libpopt/,
  });
});
