import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LabNetwork, userNetwork } from '../test/helpers/lab/network.ts';
import { enrol, type Sites, startSites, waitForReplication } from '../test/helpers/lab/sites.ts';
import { Timeline } from '../test/helpers/lab/timeline.ts';

/**
 * `make dev`: a master and a branch on free high ports, without root, with the image of docs/examples at both.
 * Up until SIGINT; everything they wrote goes with them.
 */
async function main(): Promise<void> {
  const timeline = new Timeline((line) => process.stdout.write(`${line}\n`), process.stdout.isTTY === true);
  const workDir = await mkdtemp(join(tmpdir(), 'waystation-dev-'));
  const network = userNetwork();
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  const sites = await startSites(workDir, network);
  try {
    await Promise.race([stopped, furnish(sites, network, timeline)]);
    await stopped;
  } finally {
    await sites.close();
    await rm(workDir, { recursive: true, force: true });
  }
}

async function furnish(sites: Sites, network: LabNetwork, timeline: Timeline): Promise<void> {
  await enrol(sites, network, timeline);
  await sites.hq.json('image', 'import', 'docs/examples/fat.raw.gz', '--name', 'fat');
  await waitForReplication(sites, ['fat'], timeline);
  announce(sites);
}

function announce({ hq, branch }: Sites): void {
  for (const { name, addresses, dataDir, operatorToken } of [hq, branch]) {
    process.stdout.write(
      `\n${name}\n  boot  ${addresses.httpUrl}\n  console, api  ${addresses.httpsUrl}/\n  token ${operatorToken}\n  cli/waystation image list --data ${dataDir}\n`,
    );
  }
  process.stdout.write('\nCtrl-C ends both.\n');
}

await main();
process.exit();
