import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Name, parseMac } from '../../../core/ids.ts';
import { regroupTarget } from '../../../server/control/place.ts';
import { showTarget } from '../../../server/control/things-below.ts';
import { listEvents } from '../../../server/db/events.ts';
import { getObject } from '../../../server/db/objects.ts';
import { setDocument } from '../../../server/documents.ts';
import { raiseEpoch } from '../../../server/epoch.ts';
import { addTarget } from '../../../server/targets.ts';
import { eventually } from '../../helpers/control-sites.ts';
import { startMeetingNodes } from '../../helpers/meeting-nodes.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

/** A server that was set back meets others in a database that remembers what it has forgotten. */

const root = await temporaryDirectory('restored');
const { nodes } = await startMeetingNodes(root, ['hq', 'branch']);
const [hq, branch] = nodes;
await addTarget(branch.site, { name: 'till' as Name, macs: [parseMac('525400000001')] }, 'test');
await eventually('hq knows the machine', () => showTarget(hq.site, 'till').catch(() => undefined));

const regroup = (group: string) => regroupTarget(hq.site, 'till', group as Name, 'operator:me');
const document = (name: string) => setDocument(hq.site, { type: 'parameter', name, actor: 'test' }, { value: name });
const groupIs = (group: string) => eventually(`group ${group}`, async () => (await showTarget(branch.site, 'till')).group === group);

/** Closes hq, does `work` with its directory, and opens it without serving. */
async function whileClosed(work: () => Promise<unknown>): Promise<void> {
  await hq.close();
  await work();
  await hq.reopen();
}
const replace = async (from: string, to: string) => {
  await rm(join(root, to), { recursive: true, force: true });
  await cp(join(root, from), join(root, to), { recursive: true });
};

test('a server that was set back is done what it asks from then on, and told what it makes, whatever numbers it gave before', async () => {
  await regroup('one');
  await document('one');
  await groupIs('one');
  await whileClosed(() => replace('hq', 'backup'));
  await hq.start();
  for (const word of ['two', 'three', 'four']) {
    await regroup(word);
    const { id } = await document(word);
    await groupIs(word);
    await eventually('the document is known', () => getObject(branch.site.db, id as never));
  }
  await eventually('hq has heard that all is done', async () => (await hq.site.db('control_queue').first()) === undefined);
  await whileClosed(() => replace('backup', 'hq'));
  await raiseEpoch(hq.site, 'test');
  // As many as it has forgotten, before it has heard anything of the others.
  for (const word of ['five', 'six', 'seven']) await regroup(word);
  const { id } = await document('five');
  await hq.start();
  await groupIs('seven');
  await eventually('the document is known', () => getObject(branch.site.db, id as never));
  const done = (await listEvents(branch.site.db, { origin: branch.site.self.id, limit: 1000 })).filter(({ kind }) =>
    kind.startsWith('target.group'),
  );
  assert.equal(done.length, 7);
});
