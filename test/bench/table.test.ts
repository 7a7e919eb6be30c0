import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FULL, isMet, levelsOf, levelTable, type Measured, OURS, PATCH, tableOf } from '../../bench/sync/table.ts';

const measured = (method: string, mbits: number, seconds: number, downBytes: number): Measured => ({
  ...{ method, on: 'inplace', mbits, seconds, downBytes, upBytes: 1000, hqCpu: 0.5, branchCpu: 1.25 },
  ...{ hqPeakBytes: 90e6, branchPeakBytes: 120.4e6 },
});
const ALL = [
  measured(FULL, 50, 60, 350e6),
  measured(FULL, 10, 300, 350e6),
  measured(PATCH, 50, 4, 20e6),
  measured(OURS, 50, 5, 18e6),
  measured(OURS, 10, 20, 18e6),
];

test('a line of the table has both rates, and how much faster than the full re-send at 50 Mbit/s', () => {
  const lines = tableOf(ALL, 'inplace').split('\n');
  assert.equal(lines.length, 5);
  assert.equal(lines[4], `| ${OURS} | 18.0 | 0.0010 | 20.0 | 5.0 | 12.0 × | 0.5 / 1.3 | 90 / 120 |`);
});

test('levels are ratios of the measurements; what was not measured is said so', () => {
  const levels = levelsOf(ALL);
  const figure = (what: string) => levels.find((level) => level.what === what)?.figure;
  assert.equal(figure('bytes of inplace ÷ patch-from'), 18_001_000 / 20_001_000);
  assert.equal(figure('inplace at 50 Mbit/s, full re-send ÷ ours'), 12);
  assert.equal(figure('bytes of kernel ÷ patch-from'), undefined);
  const text = levelTable(levels);
  assert.match(text, /\| inplace at 50 Mbit\/s, full re-send ÷ ours \| 12 \| ≥ 10 \| met \|/);
  assert.match(text, /\| bytes of kernel ÷ patch-from \| {2}\| ≤ 1 \| not measured \|/);
});

test('a level is met at its very figure and missed beyond it', () => {
  assert.ok(isMet({ figure: 1, wanted: 1, sense: 'most' }) && isMet({ figure: 1, wanted: 1, sense: 'least' }));
  assert.ok(!isMet({ figure: 1.01, wanted: 1, sense: 'most' }) && !isMet({ figure: 0.99, wanted: 1, sense: 'least' }));
});
