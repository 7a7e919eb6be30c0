import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import type { ErrorCode } from '../../core/errors.ts';
import { listEvents } from '../../server/db/events.ts';
import { getServer, updateServer } from '../../server/db/servers.ts';
import type { RunView } from '../../server/replication/view.ts';
import { type Serving, startServe } from '../../server/serve.ts';
import type { Site } from '../../server/site.ts';
import { resigned } from '../helpers/hostile/forge.ts';
import { type Lies, type LyingParent, sendJson, startLyingParent } from '../helpers/hostile/lying-parent.ts';
import { enrolAt, importDisk, makeDisk, makePair, makeSite, reopenSite } from '../helpers/replication-sites.ts';
import { runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';

const root = await temporaryDirectory('words');
let pair: Awaited<ReturnType<typeof makePair>>;
let parent: LyingParent;
let branch: Site;
let serving: Serving;

before(async () => {
  pair = await makePair(root);
  await makeDisk(`${root}/disk.raw`, 500_000);
  await importDisk(pair.hq, `${root}/disk.raw`);
  parent = await startLyingParent(pair.hq);
  branch = pair.branch;
  await changeUrl(parent.url);
  serving = await startServe(branch);
});
after(async () => {
  await serving.close();
  await parent.close();
  await pair.close();
});

async function changeUrl(url: string): Promise<void> {
  const row = await getServer(pair.branch.db, pair.hq.self.id);
  assert.ok(row);
  await updateServer(pair.branch.db, { ...row, url });
}

const cli = (...words: string[]) => ['--data', branch.dataDir, ...words];
const refusal = (status: number, code: string): Lies => ({
  answer: (_, response) => {
    sendJson(response, { status, code, detail: 'the parent says no' }, status);
    return true;
  },
});

type Word = {
  readonly what: string;
  readonly code: ErrorCode;
  readonly exit: number;
  readonly lies?: () => Lies;
  readonly url?: () => string;
};

const WORDS: readonly Word[] = [
  { what: 'authentication refused', code: 'denied', exit: 77, lies: () => refusal(403, 'denied') },
  { what: 'unreachable', code: 'unreachable', exit: 69, url: () => 'https://127.0.0.1:1' },
  { what: 'version mismatch', code: 'version_mismatch', exit: 76, lies: () => ({ catalogue: (honest) => ({ ...honest, protocol: 9 }) }) },
  { what: 'not permitted', code: 'not_permitted', exit: 79, lies: () => refusal(403, 'not_permitted') },
  { what: 'signature', code: 'bad_signature', exit: 80, lies: () => ({ catalogue: (honest) => ({ ...honest, objects: [] }) }) },
  { what: 'hash', code: 'mismatch', exit: 81, lies: () => ({ plan: (honest) => ({ ...honest, parts: [] }) }) },
  {
    what: 'expired',
    code: 'expired',
    exit: 82,
    lies: () => ({ catalogue: (honest) => resigned(pair.hq, honest, { head: { issuedAt: 1000, expiresAt: 2000 } }) }),
  },
];

for (const { what, code, exit, lies, url } of WORDS) {
  test(`${what} is told as ${code} in status, log, event and by exit code ${exit}`, async () => {
    parent.tell(lies?.() ?? {});
    await changeUrl(url?.() ?? parent.url);
    const { code: left, document } = await runJson<RunView>(cli('sync', 'run', '--wait'));
    await changeUrl(parent.url);
    assert.deepEqual([left, document.state, document.error?.code], [exit, 'failed', code], document.error?.message);
    assert.deepEqual(await seenOf(branch, document.id), { status: code, log: code, event: code });
  });
}

/** Where the words of a run are found. */
async function seenOf(site: Site, id: string, message = 'replication failed') {
  const words = (...rest: string[]) => ['--data', site.dataDir, ...rest];
  const status = await runJson<{ run: RunView }>(words('sync', 'status'));
  const logs = await runJson<{ items: { event: string; code?: string }[] }>(words('logs', '--run', id));
  const events = await listEvents(site.db, { subject: id });
  const told = events.map(({ data }) => (data as { error?: { code?: string } }).error?.code).find((code) => code !== undefined);
  return {
    status: status.document.run.error?.code,
    log: logs.document.items.find(({ event }) => event === message)?.code,
    event: told,
  };
}

test('disabled is told as such, with exit code 83', async () => {
  await runCli(cli('sync', 'pause'));
  const { code, document } = await runJson<{ error: { code: string } }>(cli('sync', 'run', '--wait'));
  assert.deepEqual([code, document.error.code], [83, 'disabled']);
  const { stdout } = await runCli(cli('sync', 'status'));
  assert.match(stdout, /^paused: +by /m);
  const events = await listEvents(branch.db, { limit: 20 });
  assert.ok(
    events.some(({ kind }) => kind === 'link.paused'),
    events.map(({ kind }) => kind).join(' '),
  );
  await runCli(cli('sync', 'resume'));
});

test('paused by the parent is told as such, with exit code 83', async () => {
  parent.tell(refusal(423, 'disabled'));
  const { code, document } = await runJson<RunView>(cli('sync', 'run', '--wait'));
  parent.tell({});
  assert.deepEqual([code, document.state, document.error?.code], [83, 'partial', 'disabled']);
});

if (process.getuid?.() === 0) {
  test('a full disk pauses the run with exit code 75, and it goes on by itself when space returns, with what it has', async () => {
    await makeDisk(`${root}/large.raw`, 8_000_000);
    await importDisk(pair.hq, `${root}/large.raw`, 'large');
    await (await makeSite(root, 'full')).close();
    const store = `${root}/full/store`;
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', store]);
    const full = await reopenSite(root, 'full');
    const own = await startServe(full);
    try {
      await enrolAt(pair.hq, full, pair.serving.httpsUrl);
      const words = (...rest: string[]) => ['--data', full.dataDir, ...rest];
      const { code, document } = await runJson<RunView>(words('sync', 'run', '--wait'));
      assert.deepEqual([code, document.error?.code, document.endedAt], [75, 'disk_full', null]);
      assert.deepEqual(await seenOf(full, document.id, 'replication waits'), { status: 'disk_full', log: 'disk_full', event: 'disk_full' });
      assert.match((await runCli(words('sync', 'status'))).stdout, /waiting: it goes on by itself/);
      execFileSync('mount', ['-o', 'remount,size=100m', store]);
      const status = async () => (await runJson<{ run: RunView }>(words('sync', 'status'))).document.run;
      await waitUntil('the run is done', async () => (await status()).state === 'done', {
        limitMs: 60_000,
        everyMs: 500,
        despiteErrors: true,
      });
      const done = await status();
      assert.deepEqual([done.id, done.error], [document.id, null]);
      assert.ok(done.bytesRsync <= done.bytesNeeded * 1.02 + 1_048_576, `${done.bytesRsync} bytes for ${done.bytesNeeded}`);
      const kinds = (await listEvents(full.db, { subject: document.id })).map(({ kind }) => kind);
      assert.deepEqual(kinds.sort(), ['run.done', 'run.resumed', 'run.waiting']);
    } finally {
      await own.close();
      await full.close();
      execFileSync('umount', ['-l', store]);
    }
  });
}
