import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EgressScheduler, openScheduler } from '../../../sync/egress/scheduler.ts';

type Child = {
  readonly bps?: number | null;
  readonly priority?: number /** Bits per second that it wants, default all. */;
  readonly wants?: number;
  readonly from?: number;
};

/** A fake clock of 1 ms steps (or lateness as a busy machine has it): bits per second that each child got. */
function simulate(
  totalBps: number | null,
  children: readonly Child[],
  { ms = 10_000, late = () => 0 }: { ms?: number; late?: () => number } = {},
) {
  const scheduler = openScheduler<{ child: number; bytes: number }>();
  const sent = children.map(() => 0);
  const waiting = children.map(() => false);
  scheduler.setTotal(totalBps, 0);
  for (const [n, { bps = null, priority = 10 }] of children.entries()) scheduler.setFlow(String(n), { bps, priority }, 0);
  for (let now = 0; now < ms; now += 1 + late()) {
    for (let again = true; again; ) {
      children.forEach(({ wants = Number.POSITIVE_INFINITY, from = 0 }, n) => {
        const bytes = scheduler.sliceBytes(String(n));
        if (waiting[n] || now < from || ((sent[n] ?? 0) * 8000) / Math.max(1, now - from) > wants) return;
        waiting[n] = true;
        scheduler.ask(String(n), bytes, { child: n, bytes });
      });
      const { granted } = scheduler.grant(now);
      for (const { child, bytes } of granted) {
        waiting[child] = false;
        sent[child] = (sent[child] ?? 0) + bytes;
      }
      again = granted.length > 0 && totalBps !== null;
    }
  }
  return sent.map((bytes) => (bytes * 8000) / ms);
}

const within = (value: number, wanted: number, share: number, words: string) =>
  assert.ok(Math.abs(value - wanted) <= share * wanted, `${words}: ${Math.round(value)} instead of ${Math.round(wanted)}`);
const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);

for (const [count, total] of [
  [1, 10e6],
  [2, 1e6],
  [5, 50e6],
  [50, 16e6],
  [200, 100e6],
] as const) {
  test(`${count} children share ${total / 1e6} Mbit/s within a tenth, and the total is kept`, () => {
    const rates = simulate(
      total,
      Array.from({ length: count }, () => ({})),
    );
    within(sum(rates), total, 0.05, 'all together');
    for (const rate of rates) within(rate, total / count, 0.1, 'one of them');
  });
}

test('a link has its own cap, whatever the others do', () => {
  for (const bps of [64e3, 1e6, 8e6]) {
    const [slow, free] = simulate(20e6, [{ bps }, {}]);
    within(slow ?? 0, bps, 0.1, 'the capped one');
    within(free ?? 0, 20e6 - bps, 0.1, 'the other');
  }
  within(simulate(null, [{ bps: 3e6 }])[0] ?? 0, 3e6, 0.05, 'without a total');
});

test('shares are as the priorities', () => {
  const [low, normal, high] = simulate(26e6, [{ priority: 1 }, { priority: 5 }, { priority: 20 }]);
  within(low ?? 0, 1e6, 0.1, 'priority 1');
  within(normal ?? 0, 5e6, 0.1, 'priority 5');
  within(high ?? 0, 20e6, 0.1, 'priority 20');
});

test('what a child does not use is the others’, and silence saves up no claim', () => {
  const [small, big, late] = simulate(12e6, [{ wants: 1e6 }, {}, { from: 5000 }]);
  within(small ?? 0, 1e6, 0.15, 'the modest one');
  // Alone with the modest one for five seconds, then half of the rest.
  within(big ?? 0, (11e6 + 5.5e6) / 2, 0.1, 'the eager one');
  within(late ?? 0, 5.5e6 / 2, 0.1, 'the late one');
});

test('a busy machine that looks late by up to 100 ms keeps total and shares', () => {
  let seed = 7;
  const late = () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed % 100;
  };
  const rates = simulate(40e6, [{}, {}, { bps: 4e6 }], { late });
  within(sum(rates), 40e6, 0.1, 'all together');
  within(rates[0] ?? 0, 18e6, 0.1, 'the first');
  within(rates[2] ?? 0, 4e6, 0.1, 'the capped one');
});

/** One child alone that sends all it may from `from` on; gives what went when. */
function drain(scheduler: EgressScheduler<number>, [from, until]: [number, number], isAwake: (now: number) => boolean = () => true) {
  const sent: { at: number; bytes: number }[] = [];
  for (let now = from; now < until; now += 1) {
    for (let more = isAwake(now); more; ) {
      const { granted, nextAt } = scheduler.grant(now);
      for (const bytes of granted) sent.push({ at: now, bytes });
      more = nextAt === null;
      if (more) scheduler.ask('a', scheduler.sliceBytes('a'), scheduler.sliceBytes('a'));
    }
  }
  return sent;
}

test('any three seconds carry what the cap allows and no tenth more, also after a silence', () => {
  const scheduler = openScheduler<number>();
  scheduler.setFlow('a', { bps: 8e6, priority: 1 }, 0);
  const sent = drain(scheduler, [0, 20_000], (now) => now % 7000 >= 1000);
  for (let from = 0; from < 17_000; from += 100) {
    const bytes = sum(sent.filter(({ at }) => at >= from && at < from + 3000).map((slice) => slice.bytes));
    assert.ok(bytes <= 3e6 * 1.1, `${bytes} bytes from ${from}`);
  }
  assert.ok(sum(sent.map(({ bytes }) => bytes)) > 16.5e6);
});

test('a cap that changes holds at once, up and down', () => {
  const scheduler = openScheduler<number>();
  for (const [phase, bps] of [1e6, 20e6, 1e6].entries()) {
    scheduler.setFlow('a', { bps, priority: 1 }, phase * 2000);
    const sent = drain(scheduler, [phase * 2000, (phase + 1) * 2000]);
    within(sum(sent.map(({ bytes }) => bytes)) * 4, bps, 0.1, `phase ${phase}`);
  }
});

test('a flow that is forgotten wakes nobody, and asking for an unknown one is a mistake', () => {
  const scheduler = openScheduler<number>();
  scheduler.setTotal(8000, 0);
  scheduler.setFlow('a', { bps: null, priority: 1 }, 0);
  scheduler.ask('a', 4096, 1);
  scheduler.ask('a', 4096, 2);
  assert.deepEqual(scheduler.grant(0).granted, [1]);
  scheduler.removeFlow('a');
  assert.deepEqual(scheduler.grant(0), { granted: [], nextAt: null });
  assert.throws(() => scheduler.ask('a', 1, 3));
});
