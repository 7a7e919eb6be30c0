import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import type { ErrorCode } from '../../../core/errors.ts';
import { type Digest, digestFromBytes } from '../../../core/ids.ts';
import type { Image } from '../../../core/image.ts';
import { listImages } from '../../../server/db/images.ts';
import type { Run } from '../../../server/db/runs.ts';
import { getServer, updateServer } from '../../../server/db/servers.ts';
import { runOnce } from '../../../server/replication.ts';
import type { Site } from '../../../server/site.ts';
import { importDisk, makeDisk, makePair, makeSite } from '../replication-sites.ts';
import { temporaryDirectory } from '../temp-directory.ts';
import { type Lies, type LyingParent, startLyingParent } from './lying-parent.ts';
import { incomingBytes, siteDigest } from './site-digest.ts';

/** Who takes part: the branch holds `base` of its parent and an image of its own, and has yet to get `news`. */
export type World = {
  readonly root: string;
  readonly hq: Site;
  readonly branch: Site;
  /** A server that nobody here knows. */
  readonly stranger: Site;
  readonly parent: LyingParent;
  readonly base: Image;
  readonly news: Image;
  readonly own: Image;
  /** A chunk of data that the branch holds. */
  readonly dataChunk: Digest;
};

/** One lie, and the code of the error that the run ends with; `ignored`: the run is done and took nothing of it. */
export type HostileCase = {
  readonly name: string;
  readonly code: ErrorCode | 'ignored';
  readonly lies: (world: World) => Lies;
  /** What else must hold after the run. */
  readonly check?: (world: World, ended: Run) => void | Promise<void>;
};

const IMAGE_BYTES = 600_000;
/** What a run may leave of a part on its way here: no more than the true part, and what rsync writes beyond it before it is stopped. */
const MOST_INCOMING_BYTES = 3_000_000;

/** A test for each case, numbered from `first` on, and one that the true parent is served afterwards as if nothing had been. */
export async function testHostile(first: number, cases: readonly HostileCase[]): Promise<void> {
  const root = await temporaryDirectory('hostile');
  let world: World;
  let close: () => Promise<void>;
  before(async () => {
    ({ world, close } = await makeWorld(root));
  });
  after(() => close());
  cases.forEach(({ name, code, lies, check }, index) => {
    test(`hostile parent ${first + index}: ${name}: ${code}`, { timeout: 60_000 }, async () => {
      const before = await siteDigest(world.branch);
      world.parent.tell(lies(world));
      const ended = await runOnce(world.branch, { trigger: 'command' });
      const seen = ended.error?.code ?? (ended.state === 'done' ? 'ignored' : ended.state);
      assert.equal(seen, code, `${ended.state}: ${ended.error?.message}`);
      await check?.(world, ended);
      assert.equal(await siteDigest(world.branch), before, 'something of the branch has changed');
      assert.ok((await incomingBytes(world.branch)) <= MOST_INCOMING_BYTES, `${await incomingBytes(world.branch)} bytes lie in incoming/`);
    });
  });
  test('after all these lies a truthful parent is believed, and the image is whole', async () => {
    world.parent.tell({});
    const ended = await runOnce(world.branch, { trigger: 'command' });
    assert.deepEqual([ended.state, ended.error], ['done', null]);
    const images = await listImages(world.branch.db);
    assert.ok(images.some(({ manifest, state }) => manifest === world.news.manifest && state === 'published'));
    assert.deepEqual((await world.branch.store.check()).damages, []);
    assert.equal(await incomingBytes(world.branch), 0);
  });
}

async function makeWorld(root: string): Promise<{ world: World; close: () => Promise<void> }> {
  const pair = await makePair(root);
  const { hq, branch } = pair;
  const stranger = await makeSite(root, 'stranger');
  const publish = async (site: Site, name: string) => {
    await makeDisk(join(root, `${name}.raw`), IMAGE_BYTES);
    return importDisk(site, join(root, `${name}.raw`), name);
  };
  await hq.db('settings').insert({ key: 'catalogue.epoch', value: '3' }).onConflict('key').merge();
  const base = await publish(hq, 'base');
  const own = await publish(branch, 'own');
  assert.equal((await runOnce(branch, { trigger: 'command' })).state, 'done');
  const news = await publish(hq, 'news');
  const parent = await startLyingParent(hq);
  const row = await getServer(branch.db, hq.self.id);
  assert.ok(row);
  await updateServer(branch.db, { ...row, url: parent.url });
  const close = async () => {
    await parent.close();
    await stranger.close();
    await pair.close();
  };
  const dataChunk = anyDataChunk(branch);
  return { world: { root, hq, branch, stranger, parent, base, news, own, dataChunk }, close };
}

function anyDataChunk(site: Site): Digest {
  const index = new DatabaseSync(join(site.dataDir, 'store', 'index.sqlite'), { readOnly: true });
  const row = index.prepare('SELECT digest FROM chunks ORDER BY bytes DESC LIMIT 1').get() as { digest: Uint8Array };
  index.close();
  return digestFromBytes(Buffer.from(row.digest));
}
