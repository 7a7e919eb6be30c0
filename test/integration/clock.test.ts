import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { newId } from '../../core/ids.ts';
import { listImages } from '../../server/db/images.ts';
import { acquireLease } from '../../server/db/leases.ts';
import { type Link, updateLinkDue } from '../../server/db/links.ts';
import { findLastPlan, getRun, listRuns, type Run, type RunHead } from '../../server/db/runs.ts';
import { openScrub, updateScrub } from '../../server/db/scrubs.ts';
import { onlyLink, runOnce, startReplication } from '../../server/replication.ts';
import { setSchedule } from '../../server/schedule.ts';
import type { Site } from '../../server/site.ts';
import { importDisk, makeDisk, makePair } from '../helpers/replication-sites.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const root = await temporaryDirectory('clock');
const DAY = 86_400_000;
const MINUTE = 60_000;
/** Noon of tomorrow (UTC): no night is near, whatever the time is now. */
const NOON = Math.ceil(Date.now() / DAY) * DAY + DAY / 2;
const NIGHTLY = { schedule: '0 2 * * *', timezone: 'UTC', mayStart: null, mustStop: null } as const;
let pair: Awaited<ReturnType<typeof makePair>>;
let branch: Site;
let clock = NOON;

before(async () => {
  pair = await makePair(root);
  branch = { ...pair.branch, now: () => clock };
});
after(() => pair.close());

const link = (): Promise<Link> => onlyLink(branch);

async function publish(name: string): Promise<void> {
  const path = join(root, `${name}.raw`);
  await makeDisk(path, 200_000);
  await importDisk(pair.hq, path, name);
}

/** What the schedule made of the link once it has looked: runs that it began, in their order, and the next time. */
async function afterOneLook(
  isSeen: (link: Link, began: readonly RunHead[]) => boolean,
): Promise<{ began: RunHead[]; dueAt: number | null }> {
  const known = new Set((await listRuns(branch.db)).map(({ id }) => id));
  const replication = startReplication(branch);
  try {
    for (const end = performance.now() + 20_000; performance.now() < end; ) {
      const seen = await link();
      const began = (await listRuns(branch.db)).filter(({ id }) => !known.has(id));
      if (isSeen(seen, began) && began.every(({ endedAt }) => endedAt !== null)) return { began, dueAt: seen.dueAt };
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`waited in vain: ${JSON.stringify(await link())}`);
  } finally {
    await replication.close();
  }
}

test('runs complete and are listed in their order when the clock goes on a day and back two', async () => {
  const ran: Run[] = [];
  for (const days of [0, 1, -1, 0]) {
    clock = NOON + days * DAY;
    if (days !== 0) await publish(`made-${days}`);
    ran.unshift(await runOnce(branch, { trigger: 'command' }));
  }
  assert.equal((await listImages(branch.db)).length, 2);
  assert.deepEqual(
    ran.map(({ state }) => state),
    ['done', 'done', 'done', 'done'],
  );
  assert.deepEqual(
    (await listRuns(branch.db)).map(({ id }) => id),
    ran.map(({ id }) => id),
  );
  assert.deepEqual(
    (await listRuns(branch.db, { before: ran[1]?.id as Run['id'] })).map(({ id }) => id),
    [ran[2]?.id, ran[3]?.id],
  );
  const last = await findLastPlan(branch.db, (await link()).id);
  assert.deepEqual(last?.plan, (await getRun(branch.db, ran[0]?.id as Run['id']))?.plan);
});

test('the last pass of the scrub is the last one that ended, whatever its clock said', async () => {
  const origin = newId();
  const ends: string[] = [];
  for (const now of [NOON + DAY, NOON]) {
    const pass = await openScrub(branch.db, origin, now);
    await updateScrub(branch.db, { ...pass, endedAt: now });
    ends.push(pass.id);
  }
  assert.deepEqual(ends, [...ends].sort());
});

test('a night that was passed by a clock a day ahead still has its run, once', async () => {
  clock = NOON;
  await setSchedule(branch, await link(), NIGHTLY);
  const night = NOON + 14 * 3_600_000;
  clock = NOON + DAY;
  const ahead = await afterOneLook(({ dueAt }) => dueAt !== night);
  assert.deepEqual([ahead.began.map(({ state }) => state), ahead.dueAt], [['done'], night + DAY]);
  clock = NOON;
  const back = await afterOneLook(({ dueAt }) => dueAt !== night + DAY);
  assert.deepEqual([back.began, back.dueAt], [[], night]);
  clock = night;
  const ran = await afterOneLook(({ dueAt }) => dueAt !== night);
  assert.deepEqual([ran.began.map(({ trigger, state }) => [trigger, state]), ran.dueAt], [[['schedule', 'done']], night + DAY]);
  // A clock that is put right by a minute meets its night a second time.
  clock = night - MINUTE;
  await updateLinkDue(branch.db, (await link()).id, ran.dueAt, { since: night, why: 'parent' });
  const put = await afterOneLook((_, began) => began.length > 0);
  assert.equal(put.dueAt, night + DAY);
});

test('a lease that a clock a day ahead took is free once the clock is right, one of a clock that is a little ahead is not', async () => {
  const wish = { name: 'link:of-the-clock', ttlMs: MINUTE };
  assert.ok(await acquireLease(branch.db, { ...wish, holder: 'ahead', now: NOON + DAY }));
  const next = await acquireLease(branch.db, { ...wish, holder: 'right', now: NOON });
  assert.equal(next?.fencing, 2);
  assert.equal(await acquireLease(branch.db, { ...wish, holder: 'slow', now: NOON - MINUTE / 2 }), undefined);
});
