import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { delayMs, type ScrubPace, scrubShare, shareOf } from '../../../server/care/scrub.ts';
import { viewStore } from '../../../server/care/store-view.ts';
import { startChore } from '../../../server/care/timetable.ts';
import { listEvents } from '../../../server/db/events.ts';
import { importDisk, makeDisk, makeSite, reopenSite } from '../../helpers/replication-sites.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';
import { waitUntil } from '../../helpers/wait-until.ts';

const DAY = 86_400_000;

/** A clock that only sleeping moves. */
function fakePace(shareBytes: number, bytesPerSecond: number) {
  const time = { ms: 0, sleeps: 0 };
  const sleep = async (ms: number) => {
    time.ms += ms;
    time.sleeps += 1;
  };
  const pace: ScrubPace = { bytesPerSecond, shareBytes, monotonicMs: () => time.ms, sleep, signal: new AbortController().signal };
  return { time, pace };
}

test('a scrub keeps its rate, goes on after a restart where it stood, and tells when it has read everything', async () => {
  const root = await temporaryDirectory('scrub');
  let site = await makeSite(root, 'hq');
  try {
    await makeDisk(join(root, 'disk.raw'), 12_000_000);
    await importDisk(site, join(root, 'disk.raw'));
    const { storedBytes } = await site.store.stats();
    const first = fakePace(5_000_000, 1_000_000);
    const half = await scrubShare(site, first.pace);
    assert.ok(half.bytes >= 5_000_000 && half.bytes < 7_000_000, `${half.bytes}`);
    assert.equal(Math.round(first.time.ms), Math.round(half.bytes / 1000), 'one megabyte a second');
    assert.equal(half.endedAt, null);
    await site.close();
    site = await reopenSite(root, 'hq');
    assert.equal((await viewStore(site)).scrub.current?.bytes, half.bytes);
    const second = fakePace(1e12, 50_000_000);
    const whole = await scrubShare(site, second.pace);
    assert.deepEqual([whole.id, whole.bytes, whole.damages], [half.id, storedBytes, 0]);
    assert.ok(whole.endedAt !== null);
    const { scrub } = await viewStore(site);
    assert.deepEqual([scrub.current, scrub.last?.bytes, scrub.last?.chunks], [null, storedBytes, whole.chunks]);
    assert.ok((await listEvents(site.db)).some(({ kind, subject }) => kind === 'store.scrubbed' && subject === whole.id));
    assert.notEqual((await scrubShare(site, fakePace(1, 1e9).pace)).id, whole.id, 'the next pass');
  } finally {
    await site.close();
  }
});

test('sessions of any schedule read the whole store within the days that are configured', () => {
  for (const [everyDays, days] of [
    [1, 30],
    [7, 30],
    [30, 7],
    [1, 1],
  ] as const) {
    const stored = 1e12;
    let read = 0;
    for (let day = 0; day < Math.max(days, everyDays); day += everyDays) read += shareOf(stored, { days, betweenMs: everyDays * DAY });
    assert.ok(read >= stored, `every ${everyDays} days within ${days}: ${read}`);
  }
  assert.equal(delayMs(10, 2000, 1), 8000);
  assert.equal(delayMs(10, 20_000, 1), 0);
});

test('a chore that was missed is done once, then at its next time; one that was interrupted is begun again', async () => {
  const root = await temporaryDirectory('chore');
  const time = { now: Date.UTC(2027, 0, 1, 12) };
  const site = { ...(await makeSite(root, 'hq')), now: () => time.now };
  const key = `care.test.${site.self.id}`;
  const done: number[] = [];
  const chore = { name: 'test', schedule: '0 3 * * *', timezone: 'UTC', work: async () => void done.push(time.now) };
  const until = (isSo: () => boolean | Promise<boolean>) => waitUntil('the chore', isSo, { state: () => done });
  const due = async () => Number((await site.db('settings').where({ key }).first('value'))?.value);
  try {
    const first = startChore(site, chore);
    await until(async () => (await due()) === Date.UTC(2027, 0, 2, 3));
    assert.deepEqual(done, [], 'nothing is due on the first day');
    await first.close();
    time.now = Date.UTC(2027, 0, 5, 12);
    const second = startChore(site, chore);
    await until(async () => (await due()) === Date.UTC(2027, 0, 6, 3));
    assert.equal(done.length, 1, 'four nights were missed, one is caught up');
    time.now = Date.UTC(2027, 0, 6, 3);
    site.wake.notify(key);
    await until(() => done.length === 2);
    await second.close();
    const began = Promise.withResolvers<void>();
    const hanging = startChore(site, {
      ...chore,
      work: async (signal) => {
        began.resolve();
        await site.wake.wait('never', 2 ** 30, signal);
      },
    });
    time.now = Date.UTC(2027, 0, 7, 3);
    site.wake.notify(key);
    await began.promise;
    await hanging.close();
    const again = startChore(site, chore);
    await until(() => done.length === 3);
    await again.close();
  } finally {
    await site.close();
  }
});
