import assert from 'node:assert/strict';
import { chmod, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ContentStore } from '../../../core/content-store.ts';
import { AppError } from '../../../core/errors.ts';
import type { Digest } from '../../../core/ids.ts';
import type { ArchivePart } from '../../../core/sync-protocol.ts';
import { EMPTY_PLAN } from '../../../sync/replicate/plan.ts';
import type { ContentSource, RunTools } from '../../../sync/replicate/ports.ts';
import { transferParts } from '../../../sync/replicate/transfer.ts';
import { daemonConfig } from '../../../sync/tunnel/daemon-config.ts';
import { WAITING_BYTES, WINDOW_BYTES } from '../../../sync/tunnel/frames.ts';
import { openPipeListener } from '../../../sync/tunnel/pipe-listener.ts';
import { startDaemon } from '../../../sync/tunnel/rsync-process.ts';
import { runTunnel } from '../../../sync/tunnel/tunnel.ts';
import { gptDisk } from '../../core/content/make-disk.ts';
import { endInReverse } from '../../helpers/end-in-reverse.ts';
import { socketPair } from '../../helpers/socket-pair.ts';
import { importOctets, openedStore, temporaryDirectory } from '../content/fixtures.ts';

const DISK_MB = 8;

/** What happened in which order, and how many octets of all tunnels together were sent and not yet seen by the child. */
type Seen = { readonly order: string[]; sent: number; received: number; underWay: number };

/** A parent with two images, each an archive of one part, behind real rsync daemons; it sends some 20 MB/s. */
async function parentWithTwoParts(t: TestContext, root: string) {
  const store = await openedStore(t, join(root, 'parent'));
  const directory = join(root, 'parts');
  await mkdir(directory, { mode: 0o755 });
  const manifests: Digest[] = [];
  const parts: ArchivePart[] = [];
  for (const seed of [1, 2]) {
    const manifest = await importOctets(store, root, gptDisk(DISK_MB, seed * 10));
    const built = await store.buildArchive({ have: [], want: [manifest] });
    const part = built.parts[0] as ArchivePart;
    await copyFile(join(built.directory, part.name), join(directory, part.name));
    await chmod(join(directory, part.name), 0o644);
    manifests.push(manifest);
    parts.push(part);
  }
  await chmod(root, 0o755);
  const config = join(root, 'rsyncd.conf');
  await writeFile(config, daemonConfig({ directory, asRoot: process.getuid?.() === 0 }));
  return { manifests, parts, config };
}

function contentOf({ config, parts }: { config: string; parts: readonly ArchivePart[] }, seen: Seen, keepsCredit: boolean): ContentSource {
  return {
    requestArchive: () => Promise.reject(new Error('nobody asks')),
    keepsCredit: () => keepsCredit,
    async openTunnel(_key, { credit } = {}) {
      seen.order.push(`opened ${credit ?? 'whole'} at ${seen.received < (parts[0]?.sizeBytes ?? 0) ? 'the first part' : 'the end'}`);
      const [link, far] = await socketPair();
      const daemon = startDaemon(config);
      const onData = ({ sent }: { sent: number }) => {
        seen.sent += sent;
        seen.underWay = Math.max(seen.underWay, seen.sent - seen.received);
      };
      const pace = (wanted: number) => new Promise<number>((resolve) => setTimeout(() => resolve(Math.min(wanted, 65_536)), 3));
      const begun = credit === undefined ? {} : { credit };
      runTunnel({ link: far, input: daemon.output, output: daemon.input, onData, pace, ...begun })
        .catch(() => undefined)
        .finally(daemon.kill);
      return { link, head: Buffer.alloc(0) };
    },
  };
}

type Child = {
  readonly seen: Seen;
  readonly store: ContentStore;
  readonly manifests: Digest[];
  readonly parts: readonly ArchivePart[];
  readonly tools: RunTools;
};

async function childOf(t: TestContext, keepsCredit: boolean): Promise<Child> {
  const root = await temporaryDirectory(t);
  const { manifests, parts, config } = await parentWithTwoParts(t, root);
  const store = await openedStore(t, join(root, 'child'));
  const pipes = await openPipeListener(join(root, 'pipes.sock'));
  endInReverse(t, () => pipes.close());
  const seen: Seen = { order: [], sent: 0, received: 0, underWay: 0 };
  const tools: Partial<RunTools> = {
    content: contentOf({ config, parts }, seen, keepsCredit),
    store,
    pipes,
    incoming: join(root, 'incoming'),
    records: { save: async () => undefined } as unknown as RunTools['records'],
    freeBytes: async () => Number.MAX_SAFE_INTEGER,
    reserveBytes: 0,
    onRsyncBytes: (bytes) => (seen.received += bytes),
    monotonicMs: () => performance.now(),
    sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    signal: new AbortController().signal,
    patience: 1,
  };
  return { seen, store, manifests, parts, tools: tools as RunTools };
}

async function transferBoth(t: TestContext, keepsCredit: boolean): Promise<Child> {
  const child = await childOf(t, keepsCredit);
  const outcome = await transferParts(child.tools, { ...EMPTY_PLAN, archive: { key: 'any', parts: child.parts } });
  assert.equal(outcome.event, 'landed');
  return child;
}

test('the next part is begun while the one before is on its way, and both together have one window under way', async (t) => {
  const { seen, store, manifests } = await transferBoth(t, true);
  assert.deepEqual(seen.order, ['opened whole at the first part', `opened ${WAITING_BYTES} at the first part`]);
  assert.ok(seen.underWay <= WINDOW_BYTES + WAITING_BYTES, `${seen.underWay} octets were under way`);
  assert.deepEqual((await store.missingOf(manifests)).complete, manifests);
});

test('a parent that keeps to no credit is asked for the next part when all of the one before has arrived', async (t) => {
  const { seen, store, manifests } = await transferBoth(t, false);
  assert.deepEqual(seen.order, ['opened whole at the first part', 'opened whole at the end']);
  assert.deepEqual((await store.missingOf(manifests)).complete, manifests);
});

test('a parent that forgets the archive does not count as one whose archives are incomplete, as long as more of it arrives', async (t) => {
  const { tools, parts } = await childOf(t, false);
  let opened = 0;
  const openTunnel: ContentSource['openTunnel'] = (...wish) => {
    opened += 1;
    return opened === 1 ? tools.content.openTunnel(...wish) : Promise.reject(new AppError('not_found', 'the archive is gone'));
  };
  const forgetful = { ...tools, content: { ...tools.content, openTunnel } };
  const further = await transferParts(forgetful, { ...EMPTY_PLAN, archive: { key: 'any', parts }, rounds: 5 });
  assert.deepEqual([further.event, further.plan.unpacked.length, further.plan.rounds], ['evicted', 1, 0]);
  const nothing = await transferParts(forgetful, { ...further.plan, rounds: 3 });
  assert.deepEqual([nothing.event, nothing.plan.rounds], ['evicted', 3]);
});
