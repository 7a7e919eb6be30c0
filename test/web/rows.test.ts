import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HealthLevel } from '../../core/server-health.ts';
import type { TreeServer } from '../../core/server-tree.ts';
import { formatBytes, formatDistance, formatDuration } from '../../web/src/format.ts';
import { countFilters, listRows, type Wish } from '../../web/src/servers/tree.ts';

function server(name: string, parentId: string | null, level: HealthLevel = 'ok', change: Partial<TreeServer> = {}): TreeServer {
  const health = { level, findings: [] };
  return { id: name, name, parentId, health, run: null, paused: false, ...change } as unknown as TreeServer;
}

const tree = [
  server('hq', null),
  server('b-well', 'hq'),
  server('a-well', 'hq', 'notice'),
  server('relay', 'hq'),
  server('kiosk', 'relay', 'problem'),
  server('shop', 'relay', 'warning', { paused: true }),
  server('lost', 'nobody', 'unknown'),
];
const rows = (wish: Partial<Wish> = {}) => listRows(tree, { filter: 'all', text: '', shut: new Set(), ...wish });
const shown = (wish: Partial<Wish> = {}) => rows(wish).map(({ server: { name }, depth }) => `${'-'.repeat(depth - 1)}${name}`);

test('who is worse, or has worse below, comes first, each below its parent; who has none here stands at the top', () => {
  assert.deepEqual(shown(), ['hq', '-relay', '--kiosk', '--shop', '-a-well', '-b-well', 'lost']);
});

test('what was picked keeps the way to it, and the way is told apart', () => {
  assert.deepEqual(shown({ filter: 'problem' }), ['hq', '-relay', '--kiosk']);
  assert.deepEqual(
    rows({ filter: 'problem' }).map(({ isOnlyTheWay }) => isOnlyTheWay),
    [true, true, false],
  );
  assert.deepEqual(shown({ text: ' SHOP ' }), ['hq', '-relay', '--shop']);
  assert.deepEqual(shown({ filter: 'paused', text: 'kiosk' }), []);
});

test('what was shut stays shut until somebody looks for something', () => {
  const shut = new Set(['relay']);
  assert.deepEqual(shown({ shut }), ['hq', '-relay', '-a-well', '-b-well', 'lost']);
  assert.deepEqual(shown({ shut, text: 'kiosk' }), ['hq', '-relay', '--kiosk']);
});

test('every server is counted where people look for it', () => {
  assert.deepEqual(countFilters(tree), { all: 7, problem: 1, warning: 2, running: 0, paused: 1, ok: 4 });
  const run = { state: 'transfer', isEnded: false } as TreeServer['run'];
  assert.equal(countFilters([server('a', null, 'ok', { run })]).running, 1);
});

test('a circle, which the server does not send, makes no list without an end', () => {
  const circle = [server('a', 'b'), server('b', 'a'), server('hq', null)];
  assert.deepEqual(
    listRows(circle, { filter: 'all', text: '', shut: new Set() }).map(({ server: { name } }) => name),
    ['hq'],
  );
});

test('sizes and times are short, and by the clock of the server that said them', () => {
  assert.deepEqual([0, 999, 1000, 10_400_000, 1.5e12].map(formatBytes), ['0 B', '999 B', '1.0 kB', '10.4 MB', '1.5 TB']);
  assert.deepEqual([0, 89_000, 90_000, 3.6e6 * 5, 86.4e6 * 3].map(formatDuration), ['0 s', '89 s', '2 min', '5 h', '3 days']);
  const now = '2026-11-27T12:00:00.000Z';
  assert.deepEqual(
    ['2026-11-27T11:59:58.000Z', '2026-11-27T11:00:00.000Z', '2026-11-27T12:30:00.000Z'].map((at) => formatDistance(at, now)),
    ['now', '60 min ago', 'in 30 min'],
  );
});
