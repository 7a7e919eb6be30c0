import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Laboratory, openLaboratory } from '../helpers/lab/laboratory.ts';

/** `N` repeats each run (`make e2e N=5`); every run has a new machine, disk, NVRAM, network and both data directories. */
const RUNS = Number(process.env['N'] || 1);

for (const firmware of ['bios', 'uefi'] as const) {
  for (let run = 1; run <= RUNS; run += 1) {
    describe(`${firmware}, run ${run} of ${RUNS}`, () => {
      let lab: Laboratory;
      before(async () => {
        lab = await openLaboratory({});
      });
      after(() => lab.close());

      test('an image made at HQ is octet for octet on a used disk at the branch, and only then current', async (t) => {
        const deployed = await lab.deploy({ firmware, image: 'debian' });
        t.diagnostic(`stages since power-on (ms): ${JSON.stringify(deployed.stages)}`);
        assert.equal(deployed.comparison.differentBytes, 0, `first difference at ${deployed.comparison.firstDifference}`);
        assert.ok(deployed.comparison.comparedBytes > 500e6);
        assert.equal(deployed.order.state, 'current', JSON.stringify(deployed.order));
        assert.match(deployed.serial, /WAYSTATION-FIRST-BOOT-OK/);
      });
    });
  }
}

describe('an image that cannot start', () => {
  let lab: Laboratory;
  before(async () => {
    lab = await openLaboratory({ withoutKernel: true, branchEnv: { WAYSTATION_CALL_HOME_SECONDS: '60' } });
  });
  after(() => lab.close());

  test('ends failed, in words, although its disk was written and verified: only the call with the nonce makes an order current', async () => {
    const deployed = await lab.deploy({ firmware: 'bios', image: 'debian' });
    assert.equal(deployed.comparison.differentBytes, 0);
    assert.equal(deployed.order.state, 'failed', JSON.stringify(deployed.order));
    assert.match(deployed.order.error?.message ?? '', /did not call home/);
  });
});
