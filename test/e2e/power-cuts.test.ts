import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { howMany } from '../helpers/how-many.ts';
import { dissect, type Remains, readEvents, readRows } from '../helpers/power/autopsy.ts';
import { doLongWork, viewBranch } from '../helpers/power/branch-api.ts';
import { type BranchWork, orderFromAbove, replicate } from '../helpers/power/branch-work.ts';
import { type BranchView, Ledger } from '../helpers/power/ledger.ts';
import { MOMENTS, type Moment, workUntilCut } from '../helpers/power/round.ts';
import { writeSeededDisk } from '../helpers/power/seeded-disk.ts';
import { makeSitePair, type SitePair } from '../helpers/power/site-pair.ts';
import { randomFrom } from '../helpers/seeded.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { ASKING_A_SERVER, waitUntil } from '../helpers/wait-until.ts';

/**
 * A branch in a machine of its own loses its power, again and again: the machine's memory and its disk's write cache are
 * gone. The ledger here holds what the branch had acknowledged. SEED sets where the cuts fall.
 */
const CUTS = howMany({ sample: 1, full: 20 });
const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const IMAGE_BYTES = 1_500_000;
const IMPORT_BYTES = 700_000;

const root = await temporaryDirectory('power');
/** Rows of numbers of their own, so that what is written does not depend on when it is asked for. */
const [cuts, content, orders] = [randomFrom(SEED), randomFrom(SEED + 1), randomFrom(SEED + 2)];
const ledger = new Ledger();
const sent: { targetId: string; orderId: string }[] = [];
let number = 0;
const nextNumber = () => {
  number += 1;
  return number;
};
let pair: SitePair | undefined;
after(() => pair?.close());

test(`${CUTS} power cuts of a branch lose nothing that it acknowledged (seed ${SEED})`, {
  timeout: 300_000 + CUTS * 600_000,
}, async (t) => {
  try {
    await cutAgainAndAgain(t);
  } catch (error) {
    if (pair !== undefined) t.diagnostic(await pair.lastWords());
    throw error;
  }
});

async function cutAgainAndAgain(t: TestContext): Promise<void> {
  pair = await makeSitePair(root, async (folder) => {
    for (let cut = 1; cut <= CUTS; cut += 1) await writeSeededDisk(join(folder, `disk-${cut}`), IMPORT_BYTES, content);
  });
  const work: BranchWork = { branch: pair.branch, ledger, nextNumber, random: orders };
  await publish(pair, 0);
  await pair.boot();
  await pair.enrol();
  const first = await replicate(work);
  assert.equal(first.state, 'done', JSON.stringify(first.error));
  const totals = { lost: 0, doubled: 0, damaged: 0, lostSectors: 0, received: 0 };
  for (let cut = 1; cut <= CUTS; cut += 1) {
    const moment = MOMENTS[(cut - 1) % MOMENTS.length] as Moment;
    const before = ledger.acknowledged;
    await publish(pair, cut);
    sent.push(await orderFromAbove(pair.hq, nextNumber(), 'disk@1'));
    const { stage, lostSectors } = await workUntilCut(pair, work, { moment, file: `disk-${cut}`, image: 'disk@1', random: cuts });
    const remains = await dissect(pair.toolbox, pair.dataDisk, join(root, 'remains'));
    assertReported(pair, remains);
    const seconds = await pair.boot();
    const view = await viewBranch(pair.branch);
    const findings = ledger.compare(view);
    const damages = [...remains.damages, ...halfVisible(remains), ...halfVisible(view)];
    const run = await replicate(work);
    assert.equal(run.state, 'done', JSON.stringify(run.error));
    await assertComplete(pair, cut, remains);
    totals.lost += findings.lost.length;
    totals.doubled += findings.doubled.length;
    totals.damaged += damages.length;
    totals.lostSectors += lostSectors;
    totals.received += run.bytesReceived;
    t.diagnostic(
      `cut ${cut}, seed ${SEED}: in ${stage} (run on the disk: ${remains.runState ?? 'none'}); ${lostSectors} sectors of the write cache lost; ` +
        `${ledger.acknowledged - before} acknowledged, ${findings.lost.length} lost, ${findings.doubled.length} doubled, ` +
        `${damages.length} half-visible or damaged; serves ${seconds.toFixed(0)} s after power-on`,
    );
    assert.deepEqual({ ...findings, damages }, { lost: [], doubled: [], damages: [] });
  }
  const { flushes, flushedSectors } = pair.guest.disk.figures;
  t.diagnostic(
    `${CUTS} cuts, seed ${SEED}: ${ledger.acknowledged} operations acknowledged, ${totals.lost} lost, ${totals.doubled} doubled, ` +
      `${totals.damaged} half-visible or damaged; ${sent.length} orders from above arrived once; ${totals.received} bytes received by runs after cuts; ` +
      `disk: ${flushes} flushes, ${flushedSectors} sectors of 4096 octets flushed, ${totals.lostSectors} lost with the power`,
  );
}

/** A version of the image and a document that belongs to it. */
async function publish({ hq }: SitePair, version: number): Promise<void> {
  const path = join(root, `disk-${version}.raw`);
  await writeSeededDisk(path, IMAGE_BYTES, content);
  const { id } = await hq.post<{ id: string }>('/api/v1/images', { path, name: 'disk' });
  await waitUntil(
    'the image is at headquarters',
    async () => {
      const { state, error } = await hq.get<{ state: string; error: unknown }>(`/api/v1/operations/${id}`);
      assert.notEqual(state, 'failed', JSON.stringify(error));
      return state === 'done';
    },
    { limitMs: 60_000, everyMs: 50, despiteErrors: true },
  );
  await hq.put('/api/v1/documents/parameter/version', { content: { value: String(version + 1) } });
}

/** Image and document of one version were published together: a branch that has one has the other. */
function halfVisible({ documents, images }: Pick<BranchView, 'documents' | 'images'>): string[] {
  const version = Number(documents.find(({ name }) => name === 'version')?.value);
  const held = images.filter(({ reference }) => reference.startsWith('disk@'));
  const wanted = Array.from({ length: version }, (_, index) => `disk@${index + 1} published`);
  const found = held.map(({ reference, state }) => `${reference} ${state}`);
  const missing = wanted.filter((one) => !found.includes(one)).map((one) => `${one} is what version ${version} says, and it is not there`);
  return [...missing, ...found.filter((one) => !wanted.includes(one)).map((one) => `${one} is there before its document`)];
}

/** What headquarters holds of the branch's events is what happened there, from the first on without a gap. */
function assertReported({ hqDatabase }: SitePair, { events, origin }: Remains): void {
  const received = readEvents(hqDatabase, origin);
  assert.ok(received.length <= events.length, `headquarters has ${received.length} events, the branch ${events.length}`);
  assert.deepEqual(received, events.slice(0, received.length));
}

/** The version that was under way is here whole; what was ordered from above came once; all that happened before the cut is known above. */
async function assertComplete({ hq, hqDatabase, branch }: SitePair, cut: number, { events, origin }: Remains): Promise<void> {
  const { manifest } = await hq.get<{ manifest: string }>(`/api/v1/images/disk@${cut + 1}`);
  const report = await doLongWork<{ clean: boolean; image: { manifest: string; state: string } }>(branch, `/images/disk@${cut + 1}/verify`);
  assert.deepEqual([report.clean, report.image.manifest, report.image.state], [true, manifest, 'published']);
  await waitUntil(
    'what was ordered from above is here, once',
    async () => {
      const view = await viewBranch(branch);
      const ids = [...view.targets, ...view.orders].map(({ id }) => id);
      return sent.every(({ targetId, orderId }) => [targetId, orderId].every((id) => ids.filter((one) => one === id).length === 1));
    },
    { ...ASKING_A_SERVER, limitMs: 120_000 },
  );
  await waitUntil(
    'headquarters knows what happened before the cut',
    async () => {
      const [row] = readRows(hqDatabase, 'select count(*) as n from events where origin = ?', origin);
      return Number(row?.['n']) >= events.length;
    },
    { ...ASKING_A_SERVER, limitMs: 120_000 },
  );
}
