import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { listRuns } from '../../server/db/runs.ts';
import type { StartedRun } from '../../server/panel/replicate.ts';
import { eventually, makeNode, type Node } from '../helpers/control-sites.ts';
import { runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const root = await temporaryDirectory('server-replicate');
const nodes: Node[] = [];

/** Headquarters, a relay, and a kiosk below it. */
before(async () => {
  for (const name of ['hq', 'relay', 'kiosk']) nodes.push(await makeNode(root, name, nodes.at(-1)));
});
after(async () => {
  for (const node of nodes.reverse()) await node.close();
});

type Failed = { readonly error: { readonly code: string; readonly message: string } };
const replicate = <Document = StartedRun>(name: string) => runJson<Document>(['--data', join(root, 'hq'), 'server', 'replicate', name]);

test('a run begins at a server below, also behind a relay, and is that server’s own', async () => {
  for (const node of nodes.slice(1)) {
    const begun = await eventually(`${node.name} is known and answers`, async () => {
      const { code, document } = await replicate(node.name);
      return code === 0 && document;
    });
    assert.equal(begun.server, node.name);
    const run = await eventually('it ends', async () => (await listRuns(node.site.db, { limit: 1 })).find(({ state }) => state === 'done'));
    assert.deepEqual([run.id, run.trigger], [begun.id, 'command']);
  }
});

test('what the server itself has against it is the answer, with its exit code', async () => {
  assert.equal((await runJson(['--data', join(root, 'relay'), 'sync', 'pause'])).code, 0);
  const paused = await replicate<Failed>('relay');
  assert.deepEqual([paused.code, paused.document.error.code], [83, 'disabled']);
  const unknown = await replicate<Failed>('nobody');
  assert.deepEqual([unknown.code, unknown.document.error.code], [66, 'not_found']);
  const alone = await replicate<Failed>('hq');
  assert.deepEqual([alone.code, alone.document.error.message], [66, 'this server has no parent to replicate from']);
});
