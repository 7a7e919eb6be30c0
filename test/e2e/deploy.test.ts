import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { howMany } from '../helpers/how-many.ts';
import { type Laboratory, type LaboratoryOptions, openLaboratory } from '../helpers/lab/laboratory.ts';
import { cutOff, eventsAt, orderAtHeadquarters, stateAt } from '../helpers/lab/outage.ts';
import { openAhead } from '../helpers/open-ahead.ts';
import { ASKING_A_SERVER, waitUntil } from '../helpers/wait-until.ts';

/** How often each run is done; every one has a new machine, disk, NVRAM, network and all data directories. */
const RUNS = howMany({ sample: 1, full: 5 });

/** Of all runs below, in their order. */
const options: LaboratoryOptions[] = [
  ...Array.from({ length: RUNS }, () => ({})),
  ...Array.from({ length: RUNS }, () => ({ meets: true })),
  { withoutKernel: true, branchEnv: { WAYSTATION_CALL_HOME_SECONDS: '60' } },
];
const laboratories = openAhead(options.map((one) => () => openLaboratory(one)));
after(laboratories.close);

for (let run = 1; run <= RUNS; run += 1) {
  describe(`bios, run ${run} of ${RUNS}`, () => {
    let lab: Laboratory;
    before(async () => {
      lab = await laboratories.take(run - 1);
    });
    after(() => lab.close());

    test('an image made at HQ is octet for octet on a used disk at the branch, and only then current', async (t) => {
      const deployed = await lab.deploy({ firmware: 'bios', image: 'debian' });
      t.diagnostic(`stages since power-on (ms): ${JSON.stringify(deployed.stages)}`);
      assert.equal(deployed.comparison.differentBytes, 0, `first difference at ${deployed.comparison.firstDifference}`);
      assert.ok(deployed.comparison.comparedBytes > 500e6);
      assert.equal(deployed.order.state, 'current', JSON.stringify(deployed.order));
      assert.match(deployed.serial, /WAYSTATION-FIRST-BOOT-OK/);
    });
  });
}

/** The servers of these runs meet in a database. It and the WAN are away from before power-on until the machine runs its own disk. */
const AWAY_SECONDS = 60;

for (let run = 1; run <= RUNS; run += 1) {
  describe(`uefi, the shared database stopped and the WAN cut, run ${run} of ${RUNS}`, () => {
    let lab: Laboratory;
    before(async () => {
      lab = await laboratories.take(RUNS + run - 1);
    });
    after(() => lab.close());

    test('an image made at HQ is octet for octet on a used disk at the branch and current there, and that is told once when both are back', async (t) => {
      const { hq, branch } = lab.sites;
      const order = await orderAtHeadquarters(lab, 'debian');
      const outage = await cutOff(lab);
      const deployed = await lab.deploy({ firmware: 'uefi', image: 'debian', order });
      t.diagnostic(`stages since power-on (ms): ${JSON.stringify(deployed.stages)}`);
      assert.equal(deployed.comparison.differentBytes, 0, `first difference at ${deployed.comparison.firstDifference}`);
      assert.ok(deployed.comparison.comparedBytes > 500e6);
      assert.equal(deployed.order.state, 'current', JSON.stringify(deployed.order));
      assert.match(deployed.serial, /WAYSTATION-FIRST-BOOT-OK/);

      const told = await outage.told();
      assert.equal(told.state, 'unreachable');
      assert.match(told.words ?? '', /cannot be reached/);
      const others = [hq, lab.meeting?.office].filter((server) => server !== undefined);
      for (const server of others) assert.notEqual(await stateAt(server, order.id), 'current', server.name);
      const awaySeconds = await outage.end(AWAY_SECONDS);
      const back = performance.now();
      for (const server of others) {
        await waitUntil(`${server.name} knows the result`, async () => (await stateAt(server, order.id)) === 'current', {
          limitMs: 60_000,
          everyMs: 100,
          despiteErrors: true,
        });
        const arrived = performance.now() - back;
        await waitUntil(
          `${server.name} knows all that happened`,
          async () => {
            return JSON.stringify(eventsAt(server, branch)) === JSON.stringify(eventsAt(branch, branch));
          },
          { ...ASKING_A_SERVER, limitMs: 60_000 },
        );
        assert.equal(eventsAt(server, branch, { subject: order.id, kind: 'order.current' }).length, 1);
        t.diagnostic(
          `${server.name}: the result ${(arrived / 1000).toFixed(1)} s after ${awaySeconds.toFixed(1)} s without database and WAN, once`,
        );
      }
    });
  });
}

describe('an image that cannot start', () => {
  let lab: Laboratory;
  before(async () => {
    lab = await laboratories.take(2 * RUNS);
  });
  after(() => lab.close());

  test('ends failed, in words, although its disk was written and verified: only the call with the nonce makes an order current', async () => {
    const deployed = await lab.deploy({ firmware: 'bios', image: 'debian' });
    assert.equal(deployed.comparison.differentBytes, 0);
    assert.equal(deployed.order.state, 'failed', JSON.stringify(deployed.order));
    assert.match(deployed.order.error?.message ?? '', /did not call home/);
  });
});
