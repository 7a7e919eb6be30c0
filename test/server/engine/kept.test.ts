import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { keptOrBuilt, pruneKept } from '../../../server/engine/kept.ts';

describe('what is kept between builds', () => {
  let directory = '';
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ws-kept-'));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  it('is built once, also when two ask at the same time', async () => {
    let builds = 0;
    const build = async (folder: string) => {
      builds += 1;
      await writeFile(join(folder, 'initrd'), 'same');
    };
    const both = await Promise.all([keptOrBuilt(directory, 'a', build), keptOrBuilt(directory, 'a', build)]);
    await keptOrBuilt(directory, 'a', build);
    assert.equal(both[0], both[1]);
    assert.equal(builds, 2);
    assert.deepEqual(await readdir(join(directory, 'engines')), ['a']);
  });

  it('leaves nothing behind when the build fails', async () => {
    const failing = () => Promise.reject(new Error('disk on fire'));
    await assert.rejects(keptOrBuilt(directory, 'b', failing), /on fire/);
    assert.deepEqual(await readdir(join(directory, 'engines')), ['a']);
  });

  it('is the newest four, and whatever is younger than an hour', async () => {
    const folder = join(directory, 'disks');
    const now = 1_800_000_000_000;
    const hoursOld = { old1: 9, old2: 8, d: 7, c: 6, b: 5, young: 0.5 };
    for (const [name, hours] of Object.entries(hoursOld)) {
      await mkdir(join(folder, name), { recursive: true });
      await utimes(join(folder, name), now / 1000 - hours * 3600, now / 1000 - hours * 3600);
    }
    await pruneKept(folder, now);
    assert.deepEqual((await readdir(folder)).sort(), ['b', 'c', 'd', 'young']);
    await pruneKept(folder, now - 8 * 3_600_000);
    assert.equal((await readdir(folder)).length, 4);
  });
});
