import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLane } from '../../../sync/egress/lane.ts';
import { openScheduler } from '../../../sync/egress/scheduler.ts';

/** Senders that need a moment between two sends, and a timer that is looked at every so many ms of a fake clock. */
async function simulate(priorities: readonly number[], { bps, everyMs, ms = 6000 }: { bps: number; everyMs: number; ms?: number }) {
  let now = 0;
  const scheduler = openScheduler<() => void>();
  scheduler.setTotal(bps, now);
  const sent = priorities.map(() => 0);
  const lanes = priorities.map((priority, n) => {
    scheduler.setFlow(String(n), { bps: null, priority }, now);
    return openLane({
      now: () => now,
      sliceBytes: () => scheduler.sliceBytes(String(n)),
      ask: (bytes, give) => scheduler.ask(String(n), bytes, give),
    });
  });
  const senders = lanes.map(async (lane, n) => {
    for (let bytes = await lane.pace(65_536); bytes > 0; bytes = await lane.pace(65_536)) sent[n] = (sent[n] ?? 0) + bytes;
  });
  for (; now < ms; now += everyMs) {
    for (const give of scheduler.grant(now).granted) give();
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (const lane of lanes) lane.close();
  await Promise.all(senders);
  return sent.map((bytes) => (bytes * 8000) / ms);
}

for (const everyMs of [1, 20, 60, 120]) {
  test(`shares are as the priorities when the timer comes every ${everyMs} ms only`, async () => {
    const [high = 0, low = 0] = await simulate([30, 10], { bps: 16e6, everyMs });
    assert.ok(Math.abs(high + low - 16e6) < 1.6e6, `${high + low} bit/s in all`);
    assert.ok(Math.abs(high - 12e6) < 1.2e6, `${high} bit/s for priority 30`);
    assert.ok(Math.abs(low - 4e6) < 0.4e6, `${low} bit/s for priority 10`);
  });
}

test('what was handed out and not used is forgotten, and a closed lane lets nobody wait', async () => {
  let now = 0;
  const gives: (() => void)[] = [];
  const lane = openLane({ now: () => now, sliceBytes: () => 1000, ask: (_bytes, give) => gives.push(give) });
  const first = lane.pace(600);
  for (const give of gives.splice(0)) give();
  assert.equal(await first, 600);
  now = 10_000;
  const late = lane.pace(600);
  assert.equal(gives.length, 8);
  gives[0]?.();
  assert.equal(await late, 600);
  assert.equal(await lane.pace(600), 400);
  const waiting = lane.pace(600);
  lane.close();
  assert.deepEqual([await waiting, await lane.pace(600)], [0, 0]);
});
