import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Knex } from 'knex';
import { digestOf, type Envelope } from '../../../core/envelope.ts';
import { type Digest, type Id, type Name, newId } from '../../../core/ids.ts';
import type { RunState } from '../../../core/run.ts';
import { getGrant, getTotalEgress, listGrants, setTotalEgress, updateGrantPause, updatePriority } from '../../../server/db/egress.ts';
import { listKeptManifests } from '../../../server/db/images.ts';
import {
  createLink,
  getLink,
  updateLinkCaps,
  updateLinkDue,
  updateLinkForecast,
  updateLinkHeld,
  updateLinkPause,
  updateLinkSchedule,
} from '../../../server/db/links.ts';
import { getCatalogueNumbers, getObject, listObjectsBetween, putObject, takeGeneration } from '../../../server/db/objects.ts';
import { inTransaction } from '../../../server/db/open.ts';
import {
  adoptRun,
  findLastPlan,
  findUnfinishedRun,
  getPlan,
  getRun,
  insertRun,
  listRunManifests,
  listRuns,
  nextRunId,
  pruneRuns,
  slimOldPlan,
  updateRun,
} from '../../../server/db/runs.ts';
import { createServer } from '../../../server/db/servers.ts';
import { EMPTY_PLAN, parsePlan } from '../../../sync/replicate/plan.ts';

function envelope(id: Id, revision: number): Envelope {
  const body = { note: `revision ${revision}` };
  const digest = digestOf(body);
  return { kind: 'document', id, origin: newId(), revision, body, digest, keyId: digest, signature: 'c2lnbmF0dXJl' };
}

/** What replication asks of every database; `it`s for the suite that has migrated one. */
export function replicationContract(database: () => Knex): void {
  const addRun = async (linkId: Id) => {
    const run = {
      id: await nextRunId(database(), Date.now()),
      linkId,
      state: 'waiting-parent',
      trigger: 'command',
      fencing: 0,
      startedAt: 1,
    } as const;
    await insertRun(database(), run);
    return run;
  };

  it('keeps one link to a parent and how far it came', async () => {
    const db = database();
    const parentId = newId();
    const link = await createLink(db, { parentId, origin: newId() });
    assert.deepEqual(await createLink(db, { parentId, origin: newId(), schedule: '* * * * *' }), link);
    await inTransaction(db, (trx) => updateLinkHeld(trx, link.id, { epoch: 1, generation: 7, at: 5 }));
    const held = await getLink(db, link.id);
    assert.deepEqual([held?.heldEpoch, held?.heldGeneration, held?.lastRunAt], [1, 7, 5]);
  });

  it('keeps what a branch decided about its link: times, windows, caps, a pause and the run that is owed', async () => {
    const db = database();
    const { id, ...fresh } = await createLink(db, { parentId: newId(), origin: newId() });
    assert.deepEqual(
      [fresh.windows, fresh.late, fresh.caps, fresh.paused, fresh.owed, fresh.forecast],
      [{ mayStart: null, mustStop: null }, 'chain', { bps: null, office: null }, null, null, null],
    );
    const times = { schedule: '0 2 * * *', timezone: 'Europe/Berlin', dueAt: 2 ** 42, late: 'skip' } as const;
    await updateLinkDue(db, id, 7, { since: 2 ** 41, why: 'window' });
    assert.deepEqual((await getLink(db, id))?.owed, { since: 2 ** 41, why: 'window' });
    await updateLinkSchedule(db, id, { ...times, windows: { mayStart: '22:00-04:00', mustStop: '06:00' } });
    const caps = { bps: 10 ** 12, office: { hours: 'mon-fri 08:00-18:00', bps: null } };
    await updateLinkCaps(db, id, caps);
    await updateLinkForecast(db, id, { bytes: 2 ** 50, exact: true, at: 5 });
    assert.deepEqual(
      [await updateLinkPause(db, id, { at: 9, by: 'operator:a' }), await updateLinkPause(db, id, { at: 10, by: 'operator:b' })],
      [true, false],
    );
    const kept = await getLink(db, id);
    assert.deepEqual(
      [kept?.schedule, kept?.timezone, kept?.dueAt, kept?.late, kept?.windows, kept?.caps, kept?.paused, kept?.owed, kept?.forecast],
      [
        ...['0 2 * * *', 'Europe/Berlin', 2 ** 42, 'skip', { mayStart: '22:00-04:00', mustStop: '06:00' }, caps],
        ...[{ at: 9, by: 'operator:a' }, null, { bytes: 2 ** 50, exact: true, at: 5 }],
      ],
    );
    assert.deepEqual([await updateLinkPause(db, id, null), await updateLinkPause(db, id, null)], [true, false]);
    assert.equal((await getLink(db, id))?.paused, null);
  });

  it('knows which runs keep to the window, and the newest plan of a link that came to an end', async () => {
    const db = database();
    const link = newId();
    const first = await addRun(link);
    await updateRun(db, { id: first.id, state: 'waiting-parent', fencing: 0 }, { state: 'partial', plan: { a: 1 }, endedAt: 9 });
    const second = await addRun(link);
    await updateRun(db, { id: second.id, state: 'waiting-parent', fencing: 0 }, { state: 'failed', endedAt: 9 });
    await insertRun(db, { ...first, id: newId(), inWindow: true });
    const last = await findLastPlan(db, link);
    assert.deepEqual([last?.state, last?.plan], ['partial', { a: 1 }]);
    assert.deepEqual(
      (await listRuns(db, { linkId: link })).map((run) => run.inWindow),
      [true, false, false],
    );
  });

  it('keeps what a parent grants: a total, and for each child a priority and a pause; of nobody else', async () => {
    const db = database();
    const child = newId();
    const server = { url: null, caPin: null, ca: null, certificateKeyId: null, signerKeyId: null, createdAt: 1, seenAt: null } as const;
    const name = `child-${child.slice(-12)}` as Name;
    await createServer(db, { ...server, id: child, name, relation: 'child', state: 'active' }, newId());
    assert.deepEqual(await getGrant(db, child), { id: child, name, priority: 10, paused: null });
    await updatePriority(db, child, 30);
    const pauses = [{ at: 2 ** 42, by: 'operator:a' }, { at: 1, by: 'operator:b' }, null, null];
    const changed = [];
    for (const pause of pauses.slice(0, 2)) changed.push(await updateGrantPause(db, child, pause));
    assert.deepEqual(
      (await listGrants(db)).find(({ id }) => id === child),
      { id: child, name, priority: 30, paused: { at: 2 ** 42, by: 'operator:a' } },
    );
    for (const pause of pauses.slice(2)) changed.push(await updateGrantPause(db, child, pause));
    assert.deepEqual(changed, [true, false, true, false]);
    assert.equal(await getGrant(db, newId()), undefined);
    assert.equal(await getTotalEgress(db), null);
    await setTotalEgress(db, 10 ** 12);
    assert.equal(await getTotalEgress(db), 10 ** 12);
    await setTotalEgress(db, null);
    assert.equal(await getTotalEgress(db), null);
  });

  it('refuses every update of a run by a process that lost it, and by one that expects another state', async () => {
    const db = database();
    const link = newId();
    const { id } = await addRun(link);
    const first = await adoptRun(db, link, 1);
    const second = await adoptRun(db, link, 2);
    assert.deepEqual([first?.id, second?.id], [id, id]);
    await assert.rejects(updateRun(db, { id, state: 'waiting-parent', fencing: 1 }, { state: 'toc' }), { code: 'run_in_progress' });
    await assert.rejects(updateRun(db, { id, state: 'diff', fencing: 2 }, { state: 'archive' }), { code: 'run_in_progress' });
    await assert.rejects(adoptRun(db, link, 2), { code: 'run_in_progress' });
    await updateRun(db, { id, state: 'waiting-parent', fencing: 2 }, { state: 'toc', plan: { a: 1 }, bytesReceived: 2 ** 40 });
    await updateRun(db, { id, state: 'toc', fencing: 2 }, { bytesReceived: 2 ** 40 });
    const run = await getRun(db, id);
    assert.deepEqual([run?.state, run?.plan, run?.bytesReceived], ['toc', { a: 1 }, 2 ** 40]);
  });

  it('finds the unfinished run of a link only while it is one', async () => {
    const db = database();
    const link = newId();
    const { id } = await addRun(link);
    assert.equal((await findUnfinishedRun(db, link))?.id, id);
    await updateRun(
      db,
      { id, state: 'waiting-parent', fencing: 0 },
      { state: 'failed', endedAt: 9, error: { code: 'unreachable', message: 'x' } },
    );
    assert.equal(await findUnfinishedRun(db, link), undefined);
    assert.deepEqual(
      (await listRuns(db, { linkId: link })).map((run) => run.error?.code),
      ['unreachable'],
    );
  });

  it('keeps the manifests of every run since the last one that was done, for the next one goes on with them', async () => {
    const db = database();
    const link = newId();
    const [old, wanted, base] = ['a', 'b', 'c'].map((digit) => `sha256:${digit.repeat(64)}` as Digest);
    const end = async (state: RunState, want: Digest | undefined, have: Digest | undefined) => {
      const { id } = await addRun(link);
      const plan = { ...EMPTY_PLAN, want: [want], have: have === undefined ? [] : [have] };
      await updateRun(db, { id, state: 'waiting-parent', fencing: 0 }, { state, plan: JSON.parse(JSON.stringify(plan)), endedAt: 9 });
    };
    await end('partial', old, undefined);
    await end('done', old, undefined);
    await end('partial', wanted, base);
    await end('failed', wanted, undefined);
    const kept = await listRunManifests(db);
    assert.deepEqual(
      [wanted, base].map((digest) => kept.includes(digest ?? assert.fail())),
      [true, true],
    );
    assert.equal(kept.includes(old ?? assert.fail()), false);
    assert.ok((await listKeptManifests(db)).includes(wanted ?? assert.fail()));
  });

  it('forgets the oldest ended runs of a link and no other', async () => {
    const db = database();
    const [link, other] = [newId(), newId()];
    const foreign = await addRun(other);
    const runs = [];
    for (let n = 0; n < 5; n++) runs.push(await addRun(link));
    const [unfinished, ...ended] = runs.map(({ id }) => id);
    for (const id of ended) await updateRun(db, { id, state: 'waiting-parent', fencing: 0 }, { state: 'done', endedAt: 9 });
    await pruneRuns(db, link, 2);
    await pruneRuns(db, other, 2);
    assert.deepEqual((await listRuns(db, { linkId: link })).map(({ id }) => id).sort(), [...ended.sort().slice(-2), unfinished].sort());
    assert.equal((await getRun(db, foreign.id))?.id, foreign.id);
  });

  it('keeps the catalogue in the newest plans of a link, and of older ones what they wanted', async () => {
    const db = database();
    const link = newId();
    const wanted = `sha256:${'d'.repeat(64)}` as Digest;
    const plan = { ...EMPTY_PLAN, want: [wanted], catalogue: { epoch: 1, generation: 1, objects: [envelope(newId(), 1)] } };
    const ids: Id[] = [];
    for (let n = 0; n < 8; n++) {
      const { id } = await addRun(link);
      ids.push(id);
      // Every other one ended before it had a plan.
      const patch = n % 2 === 0 ? { plan: JSON.parse(JSON.stringify(plan)) } : {};
      await updateRun(db, { id, state: 'waiting-parent', fencing: 0 }, { state: 'failed', endedAt: 9, ...patch });
      await slimOldPlan(db, link);
    }
    const plans = await Promise.all(ids.map(async (id) => parsePlan(await getPlan(db, id))));
    assert.ok(
      plans.every((one) => one === undefined || one.catalogue !== null),
      'as many as are kept',
    );
    for (let n = 0; n < 4; n++) {
      const { id } = await addRun(link);
      await updateRun(
        db,
        { id, state: 'waiting-parent', fencing: 0 },
        { state: 'failed', endedAt: 9, plan: JSON.parse(JSON.stringify(plan)) },
      );
      await slimOldPlan(db, link);
    }
    const [oldest] = ids;
    const slim = parsePlan(await getPlan(db, oldest ?? assert.fail()));
    assert.deepEqual([slim?.catalogue, slim?.want], [null, [wanted]]);
    assert.ok((await listRunManifests(db)).includes(wanted));
    const unfinished = await addRun(link);
    await updateRun(db, { id: unfinished.id, state: 'waiting-parent', fencing: 0 }, { plan: JSON.parse(JSON.stringify(plan)) });
    for (const head of [await findUnfinishedRun(db, link), ...(await listRuns(db, { linkId: link }))]) assert.ok(head && !('plan' in head));
  });

  it('numbers objects so that what was read up to a generation is all there was', async () => {
    const db = database();
    const id = newId();
    const { generation: before } = await getCatalogueNumbers(db);
    await Promise.all(
      [1, 2, 3].map(() => inTransaction(db, async (trx) => putObject(trx, envelope(newId(), 1), await takeGeneration(trx)))),
    );
    await inTransaction(db, async (trx) => putObject(trx, envelope(id, 1), await takeGeneration(trx)));
    await inTransaction(db, async (trx) => putObject(trx, envelope(id, 2), await takeGeneration(trx)));
    const { generation } = await getCatalogueNumbers(db);
    assert.equal(generation, before + 5);
    assert.equal((await listObjectsBetween(db, before, generation)).length, 4);
    assert.equal((await listObjectsBetween(db, before, generation - 1)).length, 3);
    assert.equal((await getObject(db, id))?.revision, 2);
  });
}
