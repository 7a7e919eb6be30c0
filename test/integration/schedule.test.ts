import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Json } from '../../core/canonical-json.ts';
import { newId } from '../../core/ids.ts';
import { READ_ENCODINGS } from '../../core/negotiate.ts';
import { SYNC_PROTOCOL } from '../../core/sync-protocol.ts';
import { listEvents } from '../../server/db/events.ts';
import { listImages } from '../../server/db/images.ts';
import { type Link, updateLinkDue } from '../../server/db/links.ts';
import { insertRun, listRuns, type RunHead, updateRun } from '../../server/db/runs.ts';
import { getServer, updateServer } from '../../server/db/servers.ts';
import { offerArchive } from '../../server/replication/archive-shelf.ts';
import { askLacking } from '../../server/replication/lacking.ts';
import { viewLink } from '../../server/replication/view.ts';
import { onlyLink, requestRun, runOnce, startReplication } from '../../server/replication.ts';
import { forecastLink, forecastRun } from '../../server/schedule/forecast.ts';
import { pauseLink, resumeLink, setCaps, setSchedule } from '../../server/schedule.ts';
import type { Site } from '../../server/site.ts';
import { EMPTY_PLAN } from '../../sync/replicate/plan.ts';
import { type PacingProxy, startPacingProxy } from '../helpers/pacing-proxy.ts';
import { importDisk, makeDisk, makePair, reopenSite } from '../helpers/replication-sites.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';

const root = await temporaryDirectory('schedule');
const MB = 1_000_000;
const NIGHT = { schedule: '0 2 * * *', timezone: 'Europe/Berlin', mayStart: '22:00-04:00', mustStop: '06:00', late: 'chain' } as const;
let pair: Awaited<ReturnType<typeof makePair>>;
let proxy: PacingProxy;
let made = 0;
/** How far the branch's clock is ahead of the real one; it never goes back here. */
let aheadMs = 0;
let branch: Site;

before(async () => {
  pair = await makePair(root);
  branch = { ...pair.branch, now };
  proxy = await startPacingProxy({ bytesPerSecond: 1000 * MB, latencyMs: 0 });
  proxy.setUpstream(Number(new URL(pair.serving.httpsUrl).port));
  const parent = await getServer(branch.db, pair.hq.self.id);
  assert.ok(parent);
  await updateServer(branch.db, { ...parent, url: `https://127.0.0.1:${proxy.port}` });
});
after(async () => {
  await pair.close();
  await proxy.close();
});

const link = (): Promise<Link> => onlyLink(branch);

async function publish(bytes: number): Promise<string> {
  made += 1;
  const path = join(root, `disk-${made}.raw`);
  await makeDisk(path, bytes);
  return (await importDisk(pair.hq, path, `disk-${made}`)).name;
}

const waitFor = <Value>(look: () => Promise<Value | undefined | false>): Promise<Value> =>
  waitUntil('what the schedule should do', look, { state: () => listRuns(branch.db, { limit: 5 }) });

/** The newest run, once it has brought so much. */
const midTransfer = (bytes: number) =>
  waitFor(async () => {
    const [run] = await listRuns(branch.db, { limit: 1 });
    return run?.state === 'transfer' && (run.progress?.doneBytes ?? 0) > bytes ? run : undefined;
  });

async function ended(id: string): Promise<RunHead> {
  return waitFor(async () => (await listRuns(branch.db, { limit: 5 })).find((run) => run.id === id && run.endedAt !== null));
}

async function holds(name: string): Promise<boolean> {
  return (await listImages(branch.db)).some((image) => image.name === name && image.state === 'published');
}

const now = () => Date.now() + aheadMs;
const today = Math.floor(Date.now() / 86_400_000) * 86_400_000;
const hour = (day: number, hours: number) => today + day * 86_400_000 + hours * 3_600_000;

/** Moves the branch's clock on to that hour (UTC) of that day from today. */
function setClock(ms: number): void {
  assert.ok(ms >= now());
  aheadMs = ms - Date.now();
  branch.wake.notify('schedules');
}

test('a run whose window closes ends partial with what came, says when it goes on, and the next sends none of it again', async () => {
  const name = await publish(6 * MB);
  await setSchedule(branch, await link(), { ...NIGHT, timezone: 'UTC', mayStart: null });
  proxy.setBytesPerSecond(4 * MB);
  setClock(hour(1, 5));
  const running = runOnce(branch, { trigger: 'schedule', inWindow: true });
  await midTransfer(2 * MB);
  setClock(hour(1, 6));
  const stopped = await running;
  assert.deepEqual([stopped.state, stopped.error?.code], ['partial', 'window_closed']);
  assert.match(stopped.error?.message ?? '', /must stop at 06:00 \(UTC\): what came is kept, the next run goes on at .*T02:00:00\.000Z/);
  assert.equal(await holds(name), false);
  proxy.setBytesPerSecond(1000 * MB);
  setClock(hour(2, 2));
  const done = await runOnce(branch, { trigger: 'schedule', inWindow: true });
  assert.deepEqual([done.state, done.error], ['done', null]);
  assert.ok(await holds(name));
  const twice = stopped.bytesRsync + done.bytesRsync - done.bytesNeeded;
  assert.ok(twice < 1_300_000, `${twice} bytes came twice`);
  assert.ok(stopped.bytesRsync > 2 * MB);
});

test('parts that an interrupted run had unpacked are not fetched again, unless their content is gone', async () => {
  const name = await publish(2 * MB);
  const image = (await listImages(pair.hq.db)).find((candidate) => candidate.name === name);
  assert.ok(image);
  const request = { protocol: SYNC_PROTOCOL, have: [], want: [image.manifest], encodings: [...READ_ENCODINGS] };
  const { parts } = await offerArchive(pair.hq, request, branch.self.id);
  // A run that stopped behind its parts, whose content gc took since: they are passed over, found lacking, and fetched.
  const plan = { ...EMPTY_PLAN, unpacked: parts.map((part) => part.name) } as unknown as Json;
  const before = {
    id: newId(now()),
    linkId: (await link()).id,
    state: 'waiting-parent',
    trigger: 'command',
    fencing: 0,
    startedAt: now(),
  } as const;
  await insertRun(branch.db, before);
  await updateRun(branch.db, { id: before.id, state: 'waiting-parent', fencing: 0 }, { state: 'partial', plan, endedAt: now() });
  const next = await runOnce(branch, { trigger: 'command' });
  assert.equal(next.state, 'done');
  assert.equal((next.plan as { rounds: number }).rounds, 2);
  assert.ok(await holds(name));
});

test('a person’s run ignores the window unless told to keep to it, and is then refused while it is shut', async () => {
  await setSchedule(branch, await link(), { ...NIGHT, timezone: 'UTC' });
  setClock(hour(2, 12));
  await assert.rejects(runOnce(branch, { trigger: 'command', inWindow: true }), {
    code: 'window_closed',
    message: /22:00-04:00 \(UTC\), next at .*T22:00/,
  });
  assert.equal((await runOnce(branch, { trigger: 'command' })).state, 'done');
});

test('a pause ends the run under way within seconds, keeps what came, and holds until somebody resumes', async () => {
  const name = await publish(6 * MB);
  await setSchedule(branch, await link(), { schedule: '0 3 1 1 *', mayStart: null, mustStop: null });
  proxy.setBytesPerSecond(4 * MB);
  const replication = startReplication(branch);
  try {
    const id = await requestRun(branch, { trigger: 'schedule', inWindow: true });
    await midTransfer(2 * MB);
    const pausedAt = performance.now();
    await pauseLink(branch, await link(), 'operator:anna');
    const stopped = await ended(id);
    assert.ok(performance.now() - pausedAt < 4000);
    assert.deepEqual([stopped.state, stopped.error?.code], ['partial', 'disabled']);
    assert.match(stopped.error?.message ?? '', /paused by operator:anna since 20/);
    await assert.rejects(requestRun(branch, { trigger: 'command' }), { code: 'disabled' });
    await updateLinkDue(branch.db, (await link()).id, now() - 1000);
    branch.wake.notify('schedules');
    await waitFor(async () => (await link()).owed?.why === 'paused');
    assert.equal((await listRuns(branch.db, { limit: 1 }))[0]?.id, id);
    proxy.setBytesPerSecond(1000 * MB);
    await resumeLink(branch, await link(), 'operator:anna');
    const resumed = await waitFor(async () =>
      (await listRuns(branch.db, { limit: 1 })).find((run) => run.trigger === 'resume' && run.state === 'done'),
    );
    assert.ok(await holds(name));
    assert.ok(stopped.bytesRsync + resumed.bytesRsync < resumed.bytesNeeded + 1_300_000, 'what came before the pause came again');
  } finally {
    await replication.close();
  }
});

test('a pause outlives a restart', async () => {
  await pauseLink(branch, await link(), 'operator:anna');
  await pair.branch.close();
  const reopened = await reopenSite(root, 'branch');
  pair = {
    ...pair,
    branch: reopened,
    close: async () => {
      await reopened.close();
      await pair.serving.close();
      await pair.hq.close();
    },
  };
  branch = { ...reopened, now };
  assert.equal((await link()).paused?.by, 'operator:anna');
  await assert.rejects(runOnce(branch, { trigger: 'command' }), { code: 'disabled' });
  await resumeLink(branch, await link(), 'operator:anna');
});

test('a run that was missed outside its window waits for it, by day and through a restart, and the event says so', async () => {
  await setSchedule(branch, await link(), { ...NIGHT, timezone: 'UTC' });
  setClock(hour(3, 12));
  await updateLinkDue(branch.db, (await link()).id, hour(3, 2));
  const count = async () => (await listRuns(branch.db)).length;
  const runs = await count();
  const first = startReplication(branch);
  await waitFor(async () => (await link()).owed !== null);
  await first.close();
  assert.deepEqual((await link()).owed, { since: hour(3, 2), why: 'window' });
  const events = await listEvents(branch.db, { subject: (await link()).id, limit: 1000 });
  assert.deepEqual(events.at(-1)?.kind, 'run.late');
  assert.deepEqual([events.at(-1)?.data['reason'], events.at(-1)?.data['until']], ['window', new Date(hour(3, 22)).toISOString()]);
  assert.equal(await count(), runs);
  setClock(hour(3, 22));
  const second = startReplication(branch);
  const [run] = await waitFor(async () => (await count()) > runs && listRuns(branch.db, { limit: 1 }));
  assert.deepEqual([run?.trigger, run?.inWindow], ['catch-up', true]);
  await ended(run?.id ?? '');
  await second.close();
  assert.equal(await count(), runs + 1);
  assert.equal((await link()).owed, null);
});

test('a run that was due while its predecessor ran into the end of the window does not start in that minute', async () => {
  const held = await link();
  await setSchedule(branch, held, { ...NIGHT, timezone: 'UTC', mayStart: null });
  const start = now();
  const late = { id: newId(start), linkId: held.id, state: 'waiting-parent', trigger: 'schedule', fencing: 0, startedAt: start } as const;
  await insertRun(branch.db, { ...late, inWindow: true });
  const error = { code: 'window_closed', message: 'it is six' } as const;
  await updateRun(branch.db, { id: late.id, state: 'waiting-parent', fencing: 0 }, { state: 'partial', error, endedAt: start });
  await updateLinkDue(branch.db, held.id, start + 3_600_000, { since: start, why: 'running' });
  const replication = startReplication(branch);
  await waitFor(async () => (await link()).owed === null);
  await replication.close();
  assert.equal((await listRuns(branch.db, { limit: 1 }))[0]?.id, late.id);
});

test('a plan says before the run what is to come and when it is here, to the byte, and fetches nothing', async () => {
  const name = await publish(3 * MB);
  setClock(hour(4, 12));
  await setSchedule(branch, await link(), { ...NIGHT, timezone: 'UTC' });
  await setCaps(branch, await link(), { bps: 8000, office: null });
  const before = proxy.bytes.down;
  const lacking = await askLacking(branch, await link());
  assert.ok(lacking.exact && lacking.bytes > 3 * MB && lacking.bytes < 3.1 * MB);
  assert.ok(proxy.bytes.down - before < 100_000);
  assert.equal(await holds(name), false);
  // A kB a second from two to six are 14.4 MB a night.
  const fits = await forecastLink(branch, await link());
  assert.ok(fits);
  assert.deepEqual([fits.bytes, fits.startsAt, fits.fits, fits.nights], [lacking.bytes, hour(5, 2), true, 1]);
  assert.ok(Math.abs((fits.doneBy ?? 0) - hour(5, 2) - lacking.bytes) < 1000);
  await setSchedule(branch, await link(), { ...NIGHT, timezone: 'UTC', mustStop: '02:30' });
  const view = viewLink(await link(), { parentName: 'hq', now: now(), plan: await forecastLink(branch, await link()) });
  assert.deepEqual([view.plan?.fits, view.plan?.nights], [false, 2]);
  assert.match(view.plan?.words ?? '', /^does not fit the window, needs 2 nights: done by 20..-..-.. 02:2/);
  await setCaps(branch, await link(), { bps: null, office: null });
  const done = await runOnce(branch, { trigger: 'command' });
  assert.equal(done.bytesNeeded, lacking.bytes);
  assert.equal(await forecastLink(branch, await link()), undefined);
  assert.deepEqual((await askLacking(branch, await link())).bytes, 0);
});

test('a transfer under way knows the caps to come and its window', async () => {
  await setSchedule(branch, await link(), { ...NIGHT, timezone: 'UTC', mayStart: null });
  setClock(hour(5, 5));
  const held = await link();
  const run = { startedAt: hour(5, 2), inWindow: true };
  const capped: Link = { ...held, caps: { bps: 8 * MB, office: { hours: 'sun-sat 05:30-23:00', bps: MB } } };
  const eta = (bytes: number) =>
    ((forecastRun(capped, { bytes, now: hour(5, 5), run, lineBps: null, share: null }).doneBy ?? 0) - hour(5, 5)) / 60_000;
  assert.equal(eta(600 * MB), 10);
  // Half an hour at 1 MB/s, then an eighth of that; what is left at six comes the next night.
  assert.equal(eta(1800 * MB + 75 * MB), 40);
  assert.equal(eta(1800 * MB + 225 * MB + 60 * MB), 21 * 60 + 1);
});
