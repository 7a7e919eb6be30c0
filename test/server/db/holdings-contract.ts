import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Knex } from 'knex';
import { digestOf, type Envelope } from '../../../core/envelope.ts';
import { type Id, newId, parseName } from '../../../core/ids.ts';
import type { ImageBody } from '../../../core/image.ts';
import { getImageChoice, listImageChoices, putImageChoice, removeImageChoice } from '../../../server/db/image-choices.ts';
import {
  findDefaultImage,
  getImage,
  hideImage,
  listKeptManifests,
  listPendingActivations,
  setImageError,
  setSiteActivation,
  showImage,
} from '../../../server/db/images.ts';
import { createLink, getLink, updateLinkAfterParent, updateLinkScope, updateLinkTier } from '../../../server/db/links.ts';
import { putObject } from '../../../server/db/objects.ts';
import { inTransaction } from '../../../server/db/open.ts';
import { listKnownImages, putReplica, raiseReplica, renumberObject } from '../../../server/db/replicas.ts';
import { getRun, insertRun, updateRun } from '../../../server/db/runs.ts';
import { createServer, getServer, noteChildAsked, setChildRing } from '../../../server/db/servers.ts';
import { listSources, putSource, removeSource, updateSourceRate } from '../../../server/db/sources.ts';
import { clearSyncAlarm, listSyncAlarms, raiseSyncAlarm } from '../../../server/db/sync-alarms.ts';
import { hashOf } from '../../helpers/digests.ts';

/** What a site's holdings ask of every database; `it`s for the suite that has migrated one. */
export function holdingsContract(database: () => Knex): void {
  const add = async (name: string, version: string, state: 'known' | 'published', createdAt = 1): Promise<Envelope> => {
    const body: ImageBody = {
      ...{ kind: 'disk', name: parseName(name), version, manifest: hashOf(`${name}@${version}`), arch: 'amd64' },
      ...{ sizeBytes: 10, usedBytes: 5, createdAt, group: 'lab', rings: [{ ring: 0, at: 1 }] },
    };
    const digest = digestOf(body);
    const envelope: Envelope = { kind: 'image', id: newId(), origin: newId(), revision: 1, body, digest, keyId: digest, signature: 's' };
    await inTransaction(database(), async (trx) => {
      await putObject(trx, envelope, 1);
      await putReplica(trx, { envelope, body, version, state, storedBytes: 3, at: 7 });
    });
    return envelope;
  };
  const hasManifest = async (image: Envelope) =>
    (await listKeptManifests(database())).includes((image.body as unknown as ImageBody).manifest);

  it('keeps the scope of a link, its place in the tree, and whether it follows its parent', async () => {
    const db = database();
    const { id, scope } = await createLink(db, { parentId: newId(), origin: newId() });
    assert.deepEqual(scope, {});
    const ancestors: Id[] = [newId(), newId()];
    await updateLinkScope(db, id, { names: ['debian*'], maxSizeBytes: 2 ** 40 });
    await updateLinkTier(db, id, { ancestors, ring: 3 });
    await updateLinkAfterParent(db, id, true);
    const link = await getLink(db, id);
    assert.deepEqual([link?.scope, link?.ancestors], [{ names: ['debian*'], maxSizeBytes: 2 ** 40 }, ancestors]);
    assert.deepEqual([link?.ring, link?.afterParent], [3, true]);
    await updateLinkScope(db, id, {});
    assert.deepEqual((await getLink(db, id))?.scope, {});
  });

  it('knows an image without holding it until its content is raised, once', async () => {
    const db = database();
    const { id, ...image } = await add('raised', '1', 'known');
    assert.ok((await listKnownImages(db)).some((known) => known.id === id && known.group === 'lab' && known.verifiedAt === null));
    assert.equal(await hasManifest({ id, ...image }), false);
    assert.equal(await findDefaultImage(db, 'raised'), undefined);
    await inTransaction(db, async (trx) => {
      assert.equal(await raiseReplica(trx, id, { storedBytes: 9, at: 11 }), true);
      assert.equal(await raiseReplica(trx, id, { storedBytes: 9, at: 12 }), false);
      await renumberObject(trx, id, 5);
    });
    const held = await findDefaultImage(db, 'raised');
    assert.deepEqual([held?.id, held?.storedBytes, held?.verifiedAt], [id, 9, 11]);
    assert.equal(await hasManifest({ id, ...image }), true);
  });

  it('shows the highest activation, hides what waits, and follows a choice', async () => {
    const db = database();
    const [first, second] = [await add('shown', '1', 'published', 1), await add('shown', '2', 'published', 2)];
    const shown = async () => (await findDefaultImage(db, 'shown'))?.version;
    assert.equal(await shown(), '2');
    await hideImage(db, second.id);
    assert.equal(await shown(), '1');
    assert.ok((await listPendingActivations(db)).some(({ id }) => id === second.id));
    await showImage(db, second.id, 1);
    assert.equal(await shown(), '2');
    await putImageChoice(db, { name: 'shown', mode: 'rolled-back', imageId: first.id, chosenAt: 4, actor: 'test' }, newId());
    assert.equal(await shown(), '1');
    assert.equal(await removeImageChoice(db, 'shown', 'pinned'), false);
    await putImageChoice(db, { name: 'shown', mode: 'pinned', imageId: first.id, chosenAt: 5, actor: 'test' }, newId());
    assert.deepEqual((await getImageChoice(db, 'shown'))?.mode, 'pinned');
    assert.equal((await listImageChoices(db)).filter(({ name }) => name === 'shown').length, 1);
    assert.equal(await removeImageChoice(db, 'shown', 'pinned'), true);
    assert.equal(await shown(), '2');
  });

  it('keeps the content of a deleted image while it is chosen', async () => {
    const db = database();
    const image = await add('chosen', '1', 'published');
    await putImageChoice(db, { name: 'chosen', mode: 'pinned', imageId: image.id, chosenAt: 4, actor: 'test' }, newId());
    await db('images').where({ id: image.id }).update({ state: 'deleted' });
    assert.equal(await hasManifest(image), true);
    await removeImageChoice(db, 'chosen');
    assert.equal(await hasManifest(image), false);
  });

  it('keeps what went wrong for an image and when this site activates it', async () => {
    const db = database();
    const { id } = await add('noted', '1', 'known');
    await setImageError(db, id, { code: 'not_found', message: 'nobody has it' });
    await setSiteActivation(db, id, 1_800_000_000_000);
    const noted = await getImage(db, id);
    assert.deepEqual([noted?.error?.code, noted?.siteActivateAt], ['not_found', 1_800_000_000_000]);
    await setImageError(db, id, null);
    await showImage(db, id, 4);
    const shown = await getImage(db, id);
    assert.deepEqual([shown?.error, shown?.siteActivateAt, shown?.activation], [null, null, 4]);
  });

  it('takes a child for synced when it shows that it holds what it was told, and not before', async () => {
    const db = database();
    const id = newId();
    const child = { id, name: parseName(`c-${id}`), relation: 'child', state: 'active', createdAt: 1, seenAt: null } as const;
    const keys = { url: null, caPin: null, ca: null, certificateKeyId: null, signerKeyId: null };
    await createServer(db, { ...child, ...keys }, newId());
    const ask = async (generation: number, told: number, now: number) => {
      await noteChildAsked(db, id, { held: { epoch: 0, generation }, told: { epoch: 0, generation: told }, now });
      return (await getServer(db, id))?.syncedAt ?? null;
    };
    assert.equal(await ask(0, 5, 10), null);
    assert.equal(await ask(0, 6, 20), null, 'its run failed');
    assert.equal(await ask(6, 9, 30), 30, 'it holds what it was told at 20');
    assert.equal(await ask(6, 9, 40), 30);
    assert.equal(await ask(9, 9, 50), 50);
    assert.equal(await setChildRing(db, id, 4), true);
    assert.equal(await setChildRing(db, newId(), 4), false);
    assert.equal((await getServer(db, id))?.ring, 4);
  });

  it('raises the alarm of a site once and clears it once', async () => {
    const db = database();
    const id = newId();
    const raise = (at: number) => inTransaction(db, (trx) => raiseSyncAlarm(trx, id, at));
    assert.deepEqual([await raise(7), await raise(8)], [true, false]);
    assert.equal((await listSyncAlarms(db)).get(id), 7);
    const clear = () => inTransaction(db, (trx) => clearSyncAlarm(trx, id));
    assert.deepEqual([await clear(), await clear()], [true, false]);
  });

  it('keeps further sources in the order in which they were added, each once', async () => {
    const db = database();
    const [first, second] = [newId(), newId()];
    const source = (serverId: Id, createdAt: number, url: string) => ({
      ...{ serverId, name: parseName(`s-${serverId}`), url, caPin: hashOf('ca'), certificateKeyId: hashOf('key'), createdAt },
    });
    await inTransaction(db, (trx) => putSource(trx, source(second, 2, 'https://b'), newId()));
    await inTransaction(db, (trx) => putSource(trx, source(first, 1, 'https://a'), newId()));
    await updateSourceRate(db, first, 2 ** 40);
    await inTransaction(db, (trx) => putSource(trx, source(first, 9, 'https://c'), newId()));
    const found = (await listSources(db)).filter(({ serverId }) => serverId === first || serverId === second);
    assert.deepEqual(
      found.map(({ serverId, url, rateBytes }) => [serverId, url, rateBytes]),
      [
        [first, 'https://c', 2 ** 40],
        [second, 'https://b', null],
      ],
    );
    assert.deepEqual([await removeSource(db, first), await removeSource(db, first)], [true, false]);
  });

  it('writes down which servers gave how much in a run', async () => {
    const db = database();
    const run = { id: newId(), linkId: newId(), state: 'transfer', trigger: 'command', fencing: 0, startedAt: 1 } as const;
    await insertRun(db, run);
    assert.deepEqual((await getRun(db, run.id))?.sources, []);
    const sources = [{ server: newId(), name: 'sibling', bytesReceived: 2 ** 40, bytesRsync: 7 }];
    await updateRun(db, { id: run.id, state: 'transfer', fencing: 0 }, { sources });
    assert.deepEqual((await getRun(db, run.id))?.sources, sources);
  });
}
