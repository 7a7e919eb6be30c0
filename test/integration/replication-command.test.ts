import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { newId } from '../../core/ids.ts';
import { listEvents } from '../../server/db/events.ts';
import { getLinkToParent, updateLinkDue } from '../../server/db/links.ts';
import { findUnfinishedRun, insertRun, listRuns } from '../../server/db/runs.ts';
import type { RunView } from '../../server/replication/view.ts';
import { type Serving, startServe } from '../../server/serve.ts';
import type { Site } from '../../server/site.ts';
import { enrolAt, importDisk, makeDisk, makeSite, reopenSite } from '../helpers/replication-sites.ts';
import { runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';

const root = await temporaryDirectory('replication-command');
const dir = join(root, 'branch');
const NETCLNT = fileURLToPath(new URL('../../cli/netclnt', import.meta.url));
let hq: Site;
let serving: Serving;
let made = 0;

before(async () => {
  hq = await makeSite(root, 'hq');
  serving = await startServe(hq);
  const branch = await makeSite(root, 'branch');
  await enrolAt(hq, branch, serving.httpsUrl);
  await branch.close();
});
after(async () => {
  await serving.close();
  await hq.close();
});

async function publish(): Promise<void> {
  made += 1;
  const path = join(root, `disk-${made}.raw`);
  await makeDisk(path, 500_000);
  await importDisk(hq, path, `disk-${made}`);
}

/** `netclnt` as crontab starts it: no terminal, next to no environment. */
async function netclnt(dataDir = dir): Promise<{ code: number | null; words: string }> {
  const env = { PATH: process.env['PATH'], WAYSTATION_DATA: dataDir, WAYSTATION_STORE_RESERVE_BYTES: '1000000' };
  const child = spawn(NETCLNT, [], { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let words = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (words += text));
  const [code] = await once(child, 'close');
  return { code: code as number | null, words };
}

/** The branch's server in this process, while `work` runs. */
async function whileServing(work: (site: Site) => Promise<unknown>): Promise<void> {
  const site = await reopenSite(root, 'branch');
  const own = await startServe(site);
  try {
    await work(site);
  } finally {
    await own.close();
    await site.close();
  }
}

const waitFor = <Value>(look: () => Promise<Value | undefined>): Promise<Value> =>
  waitUntil('what the replicator should do', look, { state: () => history() });

const history = async () => (await runJson<{ items: RunView[] }>(['--data', dir, 'sync', 'history'])).document.items;

test('netclnt from crontab replicates with no server up, and again with one', async () => {
  await publish();
  const down = await netclnt();
  assert.equal(down.code, 0, down.words);
  await publish();
  await whileServing(async () => {
    const up = await netclnt();
    assert.equal(up.code, 0, up.words);
    const [second, first] = await history();
    assert.deepEqual([second?.state, second?.trigger, first?.state, first?.trigger], ['done', 'command', 'done', 'command']);
    assert.ok((second?.bytesRsync ?? 0) > 500_000 && (first?.bytesRsync ?? 0) > 500_000);
  });
});

test('a data directory that is named by a relative path replicates like any other', async () => {
  await publish();
  const { code, words } = await netclnt('branch');
  assert.equal(code, 0, words);
});

test('sync run --wait --json gives one document with the members that scripts read', async () => {
  const { code, document } = await runJson<RunView>(['--data', dir, 'sync', 'run', '--wait'], {
    env: { WAYSTATION_STORE_RESERVE_BYTES: '0' },
  });
  assert.equal(code, 0);
  const logged = await runJson<{ items: { event: string }[] }>(['--data', dir, 'logs', '--run', document.id]);
  assert.deepEqual(
    logged.document.items.map(({ event }) => event),
    ['replication run', 'replication run ended'],
  );
  for (const key of [
    'id',
    'state',
    'generation',
    'bytesNeeded',
    'bytesReceived',
    'bytesSent',
    'requests',
    'startedAt',
    'endedAt',
    'error',
  ]) {
    assert.ok(key in document, key);
  }
  assert.match(document.endedAt ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});

test('a second run while one is in progress ends with 75', async () => {
  await whileServing(async (site) => {
    const link = await getLinkToParent(site.db, hq.self.id);
    assert.ok(link);
    const run = { id: newId(), linkId: link.id, state: 'waiting-parent', trigger: 'command', fencing: 0, startedAt: Date.now() } as const;
    await insertRun(site.db, run);
    const { code, document } = await runJson<{ error: { code: string } }>(['--data', dir, 'sync', 'run', '--wait']);
    assert.deepEqual([code, document.error.code], [75, 'run_in_progress']);
    await site.db('runs').where({ id: run.id }).delete();
  });
});

test('a parent that is away ends the command with 69', async () => {
  const url = new URL(serving.httpsUrl);
  const site = await reopenSite(root, 'branch');
  await site.db('servers').where({ id: hq.self.id }).update({ url: 'https://127.0.0.1:1' });
  await site.close();
  const { code } = await runJson(['--data', dir, 'sync', 'run'], { env: { WAYSTATION_STORE_RESERVE_BYTES: '0' } });
  const again = await reopenSite(root, 'branch');
  await again.db('servers').where({ id: hq.self.id }).update({ url: url.origin });
  await again.close();
  assert.equal(code, 69);
});

test('without rsync the command ends with 78 and the line that installs it, with no server up and with one', async () => {
  await publish();
  const path = process.env['PATH'];
  const bin = join(root, 'bin-without-rsync');
  await mkdir(bin);
  for (const name of ['flock', 'prlimit']) await symlink(`/usr/bin/${name}`, join(bin, name));
  const runs = async () => {
    const asDocument = await runJson<RunView>(['--data', dir, 'sync', 'run', '--wait']);
    assert.deepEqual([asDocument.code, asDocument.document.error?.code], [78, 'missing_program']);
    const { code, stdout } = await runCli(['--data', dir, 'sync', 'run', '--wait'], { env: { WAYSTATION_STORE_RESERVE_BYTES: '1000000' } });
    assert.equal(code, 78);
    assert.match(stdout, /^error: +the program "rsync" is not there; .*\(apt install rsync\)$/m);
  };
  process.env['PATH'] = bin;
  try {
    await runs();
    await whileServing(runs);
  } finally {
    process.env['PATH'] = path;
  }
  assert.equal((await netclnt()).code, 0);
});

test('the schedule belongs to the branch: set, shown, run by its clock, switched off', async () => {
  await publish();
  await whileServing(async (site) => {
    const set = ['--data', dir, 'sync', 'schedule', 'set'];
    assert.equal((await runJson([...set, 'every day'])).code, 64);
    assert.equal((await runJson([...set, '0 3 * * *', '--timezone', 'Europe/Nowhere'])).code, 64);
    await runJson([...set, '30 2 * * *', '--timezone', 'Europe/Berlin']);
    const { document } = await runJson<{ schedule: string; timezone: string; nextRunAt: string }>(['--data', dir, 'sync', 'schedule']);
    assert.deepEqual([document.schedule, document.timezone], ['30 2 * * *', 'Europe/Berlin']);
    assert.match(document.nextRunAt, /T0[01]:30:00\.000Z$/);
    await runJson([...set, '* * * * * *']);
    const ran = await waitFor(async () => (await listRuns(site.db)).find((run) => run.trigger === 'schedule' && run.state === 'done'));
    assert.equal(ran.error, null);
    const off = await runJson<{ schedule: string | null; nextRunAt: string | null }>(['--data', dir, 'sync', 'schedule', 'off']);
    assert.deepEqual([off.document.schedule, off.document.nextRunAt], [null, null]);
  });
});

test('a run that was due while no server was up is caught up once', async () => {
  // The test before may have stopped its server in the middle of a run: what is left to finish counts as the run that was due.
  await whileServing((site) =>
    waitFor(async () => ((await listRuns(site.db)).every(({ endedAt }) => endedAt !== null) ? true : undefined)),
  );
  const closed = await reopenSite(root, 'branch');
  const link = await getLinkToParent(closed.db, hq.self.id);
  assert.ok(link);
  await closed.db('links').where({ id: link.id }).update({ schedule: '0 3 1 1 *' });
  await updateLinkDue(closed.db, link.id, Date.now() - 3_600_000);
  // A clock that strikes every second on a busy machine may have been caught up with before.
  const earlier = (await listRuns(closed.db)).map(({ id }) => id);
  await closed.close();
  const caughtUp = async (site: Site) =>
    (await listRuns(site.db)).filter((run) => run.trigger === 'catch-up' && run.state === 'done' && !earlier.includes(run.id));
  await whileServing(async (site) => {
    await waitFor(async () => (await caughtUp(site))[0]);
    assert.ok(((await getLinkToParent(site.db, hq.self.id))?.dueAt ?? 0) > Date.now());
  });
  await whileServing(async (site) => {
    await waitFor(async () => ((await findUnfinishedRun(site.db, link.id)) === undefined ? true : undefined));
    assert.equal((await caughtUp(site)).length, 1);
    const [run] = await caughtUp(site);
    assert.ok((await listEvents(site.db, { subject: run?.id ?? '' })).some((event) => event.kind === 'run.done'));
  });
});
