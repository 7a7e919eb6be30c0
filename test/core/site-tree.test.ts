import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ActualServer, checkTree, diffTree, type Placed } from '../../core/site-tree.ts';
import { readTreeFile } from '../../server/shared/tree-file.ts';

const at = (line: number, name: string, parent: string | null = null): Placed => ({ line, name, parent, settings: {}, link: {} });
const words = (...servers: Placed[]) => checkTree(servers).map((problem) => `${problem.line}: ${problem.words}`);

test('a tree is good when everybody has one parent that is there and nobody stands above itself', () => {
  assert.deepEqual(words(at(1, 'hq'), at(2, 'relay', 'hq'), at(3, 'branch', 'relay')), []);
  assert.deepEqual(words(at(1, 'hq'), at(2, 'hq')), ['2: server hq is there twice (first in line 1)']);
  assert.deepEqual(words(at(1, 'a'), at(2, 'b'), at(3, 'c', 'a'), at(4, 'c', 'b')), [
    '4: server c has two parents, a and b (first in line 3)',
  ]);
  assert.deepEqual(words(at(1, 'a', 'a')), ['1: server a cannot be its own parent']);
  assert.deepEqual(words(at(1, 'a', 'nobody')), ['1: the parent nobody of server a is not in the file']);
  assert.deepEqual(words(at(1, 'a', 'c'), at(2, 'b', 'a'), at(3, 'c', 'b')), [
    '1: server a would be above itself',
    '2: server b would be above itself',
    '3: server c would be above itself',
  ]);
});

test('everything that is wrong with a file is told at once, with its line', () => {
  const text = `servers:
  - name: hq
  - name: branch
    parent: hq
    colour: red
  - name: Branch
  - name: lost
    parent: nobody
`;
  assert.throws(
    () => readTreeFile('tree.yaml', text),
    (error: Error) => {
      assert.match(error.message, /^tree\.yaml:3: .*colour/m);
      assert.match(error.message, /^tree\.yaml:6: name: must be the name of a server/m);
      assert.match(error.message, /^tree\.yaml:7: the parent nobody of server lost is not in the file/m);
      return true;
    },
  );
  assert.throws(() => readTreeFile('t.yaml', 'servers:\n  - name: [x\n'), { code: 'bad_data', message: /^t\.yaml:\d+: / });
  for (const bad of ['', 'x: 1\n', 'servers: 3\n', '- a\n']) assert.throws(() => readTreeFile('t.yaml', bad), { code: 'bad_data' });
});

test('rings are given by parents: what differs, and what a file gave before and gives no more', () => {
  const none = { parentBy: 'file', settings: {}, link: null, managed: [] } as const;
  const actual: ActualServer[] = [
    { ...none, id: 'h', name: 'hq', parent: null, rings: { a: 0, b: 2, c: null } },
    { ...none, id: 'r', name: 'relay', parent: 'hq', rings: {} },
    ...['a', 'b', 'c'].map((id) => ({ ...none, id, name: id, parent: 'hq', rings: {} })),
  ];
  const file = [at(1, 'hq'), at(2, 'relay', 'hq'), { ...at(3, 'a', 'hq'), ring: 1 }, { ...at(4, 'b', 'relay'), ring: 2 }, at(5, 'c', 'hq')];
  const rings = diffTree(file, actual, 'hq').filter(({ field }) => field.startsWith('ring'));
  assert.deepEqual(rings, [
    { server: 'a', field: 'ring', is: '0', wanted: '1' },
    { server: 'b', field: 'ring', is: 'by operators', wanted: '2' },
    { server: 'b', field: 'ring at hq', is: 'by a file', wanted: 'by operators' },
    { server: 'c', field: 'ring at hq', is: 'by a file', wanted: 'by operators' },
  ]);
  assert.match(checkTree([{ ...at(1, 'hq'), ring: 0 }])[0]?.words ?? '', /hq has a ring and no parent to give it/);
});

test('what differs is told server by server, also who is no longer in the file', () => {
  const none = { id: '', settings: {}, link: null, managed: [], rings: {} };
  const actual: ActualServer[] = [
    { ...none, name: 'hq', parent: null, parentBy: 'file' },
    {
      ...{ ...none, name: 'branch', parent: null, parentBy: 'operator', managed: ['timezone', 'capMbit'] },
      settings: { approve: { value: 'auto', from: 'configuration' } },
      link: { schedule: '0 1 * * *', timezone: 'UTC' },
    },
    { ...none, name: 'old', parent: 'hq', parentBy: 'file' },
  ];
  const branch = { ...at(2, 'branch', 'hq'), settings: { approve: 'operator' }, link: { schedule: null, timezone: 'UTC' } };
  assert.deepEqual(diffTree([at(1, 'hq'), branch], actual, 'hq'), [
    { server: 'branch', field: 'parent', is: null, wanted: 'hq' },
    { server: 'branch', field: 'managed', is: 'by operators', wanted: 'by a file' },
    { server: 'branch', field: 'settings.approve', is: 'auto (configuration)', wanted: 'operator' },
    { server: 'branch', field: 'link.schedule', is: '0 1 * * *', wanted: null },
    { server: 'branch', field: 'link.capMbit', is: 'by a file', wanted: 'by operators' },
    { server: 'old', field: 'managed', is: 'by a file', wanted: 'by operators' },
  ]);
});
