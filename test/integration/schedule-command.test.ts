import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { EgressView } from '../../server/api/routes/egress.ts';
import type { LinkView, PlanView } from '../../server/replication/view.ts';
import { type Serving, startServe } from '../../server/serve.ts';
import type { Site } from '../../server/site.ts';
import { enrolAt, importDisk, makeDisk, makeSite } from '../helpers/replication-sites.ts';
import { runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const root = await temporaryDirectory('schedule-command');
const opened: { readonly site: Site; readonly serving: Serving }[] = [];

before(async () => {
  for (const name of ['hq', 'branch']) {
    const site = await makeSite(root, name);
    opened.push({ site, serving: await startServe(site) });
  }
  const [hq, branch] = opened;
  assert.ok(hq && branch);
  await enrolAt(hq.site, branch.site, hq.serving.httpsUrl);
  await makeDisk(join(root, 'disk.raw'), 500_000);
  await importDisk(hq.site, join(root, 'disk.raw'));
});
after(async () => {
  for (const { site, serving } of opened.reverse()) {
    await serving.close();
    await site.close();
  }
});

const json = <Document>(site: 'hq' | 'branch', ...words: string[]) => runJson<Document>(['--data', join(root, site), ...words]);
const link = async (...words: string[]): Promise<LinkView> => (await json<LinkView>('branch', 'sync', ...words)).document;

test('windows and caps are set, shown and taken away, and what is none is refused', async () => {
  const set = ['schedule', 'set', '0 2 * * *', '--timezone', 'Europe/Berlin'];
  const windows = await link(...set, '--may-start', '22:00-04:00', '--must-stop', '06:00', '--late', 'skip');
  assert.deepEqual([windows.mayStart, windows.mustStop, windows.late], ['22:00-04:00', '06:00', 'skip']);
  const kept = await link('schedule', 'set', '0 3 * * *', '--must-stop', 'off');
  assert.deepEqual([kept.schedule, kept.timezone, kept.mayStart, kept.mustStop], ['0 3 * * *', 'Europe/Berlin', '22:00-04:00', null]);
  const caps = await link('cap', 'set', '50', '--office-hours', 'mon-fri 08:00-18:00', '--office-mbit', '4.5');
  assert.deepEqual([caps.capMbit, caps.officeHours, caps.officeCapMbit], [50, 'mon-fri 08:00-18:00', 4.5]);
  for (const words of [
    ['schedule', 'set', '0 3 * * *', '--may-start', '25:00-04:00'],
    ['schedule', 'set', '0 3 * * *', '--late', 'perhaps'],
    ['cap', 'set', '0'],
    ['cap', 'set', '5', '--office-mbit', '1'],
    ['cap', 'set', '5', '--office-hours', 'always', '--office-mbit', '1'],
  ]) {
    assert.equal((await json('branch', 'sync', ...words)).code, 64, words.join(' '));
  }
  const { stdout } = await runCli(['--data', join(root, 'branch'), 'sync', 'status']);
  assert.match(stdout, /^windows: +start 22:00-04:00, no stop; late runs are skipped$/m);
  assert.match(stdout, /^cap: +50 Mbit\/s, 4\.5 Mbit\/s mon-fri 08:00-18:00$/m);
});

test('what is left out of a schedule or a cap stays as it is', async () => {
  const windows = await link('schedule', 'set', '--must-stop', '06:30');
  assert.deepEqual(
    [windows.schedule, windows.timezone, windows.mayStart, windows.mustStop],
    ['0 3 * * *', 'Europe/Berlin', '22:00-04:00', '06:30'],
  );
  assert.equal((await json('branch', 'sync', 'schedule', 'set')).code, 64);
  const caps = await link('cap', 'set', '40');
  assert.deepEqual([caps.capMbit, caps.officeHours, caps.officeCapMbit], [40, 'mon-fri 08:00-18:00', 4.5]);
  const alone = await link('cap', 'set', '40', '--office-hours', 'off');
  assert.deepEqual([alone.capMbit, alone.officeHours, alone.officeCapMbit], [40, null, null]);
  await link('cap', 'set', '50', '--office-hours', 'mon-fri 08:00-18:00', '--office-mbit', '4.5');
  const off = await link('cap', 'off');
  assert.deepEqual([off.capMbit, off.officeHours, off.officeCapMbit], [null, null, null]);
  await link('cap', 'set', '50');
});

test('a schedule that would never start anything is refused with what helps', async () => {
  const { code, document } = await json<{ error: { message: string; hint: string } }>('branch', 'sync', 'schedule', 'set', '0 12 * * *');
  assert.equal(code, 64);
  assert.match(document.error.message, /"0 12 \* \* \*" is never due within 22:00-04:00, and late runs are skipped/);
  assert.match(document.error.hint, /--late chain/);
  assert.equal((await link('schedule')).schedule, '0 3 * * *');
});

test('a plan is printed in words and as a document, and shown by status until it is carried out', async () => {
  const { document } = await json<PlanView>('branch', 'sync', 'plan');
  assert.ok(document.exact && document.bytes > 500_000 && document.fits);
  assert.match(document.words, /^done by 0[34]:0\d$/);
  assert.deepEqual((await link('schedule')).plan?.bytes, document.bytes);
  const { stdout } = await runCli(['--data', join(root, 'branch'), 'sync', 'plan']);
  assert.match(stdout, /^plan: +done by 0[34]:0\d$/m);
});

test('a paused branch refuses to run with 75, says who paused it, and goes on when it is resumed', async () => {
  const paused = await link('pause');
  assert.deepEqual([paused.paused?.by, paused.nextRunAt], ['local-admin', null]);
  const refused = await json<{ error: { code: string; message: string } }>('branch', 'sync', 'run', '--wait');
  assert.deepEqual([refused.code, refused.document.error.code], [83, 'disabled']);
  assert.match(refused.document.error.message, /paused by local-admin since 20/);
  assert.match(paused.plan?.words ?? '', /^nothing starts while the link is paused; resumed in time: done by 0[34]:0\d$/);
  assert.equal((await link('resume')).paused, null);
});

test('the plan of a link without a schedule does not promise a run that nobody starts', async () => {
  const { plan } = await link('schedule', 'off');
  assert.match(plan?.words ?? '', /^nothing starts by itself; started now \("sync run"\): done by \d\d:\d\d$/);
  await link('schedule', 'set', '0 3 * * *');
});

test('the parent shares its egress, gives priorities and pauses children; a run then ends with the reason', async () => {
  const set = await json<EgressView>('hq', 'server', 'egress', 'set', '100.5');
  assert.equal(set.document.mbit, 100.5);
  const priority = await json<EgressView>('hq', 'server', 'priority', 'branch', '30');
  assert.deepEqual(
    priority.document.children.map(({ name, priority: share }) => [name, share]),
    [['branch', 30]],
  );
  for (const words of [
    ['priority', 'branch', '0'],
    ['priority', 'branch', '101'],
    ['pause'],
    ['pause', 'branch', '--all'],
    ['egress', 'set', 'much'],
  ]) {
    assert.equal((await json('hq', 'server', ...words)).code, 64, words.join(' '));
  }
  assert.equal((await json('hq', 'server', 'pause', 'hq')).code, 65);
  assert.equal((await json('hq', 'server', 'pause', 'nobody')).code, 66);
  assert.equal((await json<EgressView>('hq', 'server', 'pause', '--all')).document.children[0]?.paused?.by, 'local-admin');
  const run = await json<{ state: string; error: { code: string } }>('branch', 'sync', 'run', '--wait');
  assert.deepEqual([run.code, run.document.state, run.document.error.code], [83, 'partial', 'disabled']);
  assert.equal((await json<EgressView>('hq', 'server', 'resume', 'branch')).document.children[0]?.paused, null);
  assert.equal((await json('hq', 'server', 'egress', 'off')).code, 0);
  const done = await json<{ state: string }>('branch', 'sync', 'run', '--wait');
  assert.deepEqual([done.code, done.document.state], [0, 'done']);
  assert.equal((await link('schedule')).plan, null);
});
