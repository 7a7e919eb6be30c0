import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheDirectory } from '../test/helpers/cache.ts';
import { buildDebianImage } from '../test/helpers/debian-image.ts';
import { deployMachine } from '../test/helpers/lab/deployment.ts';
import { bridgeNetwork, type LabNetwork, userNetwork } from '../test/helpers/lab/network.ts';
import { assignParent, enrol, type Sites, startSites, waitForReplication } from '../test/helpers/lab/sites.ts';
import { Timeline } from '../test/helpers/lab/timeline.ts';
import { type Meeting, startMeeting } from '../test/helpers/meeting.ts';

/**
 * `make demo [DATABASE=mysql] [ARGS="--keep --uefi"]`: an image made at HQ reaches the disk of a bare machine at a branch, with real
 * parts everywhere. With DATABASE=mysql both servers meet in a MariaDB that is started here. Exits 0 only when the deployed system itself called home.
 */
const keep = process.argv.includes('--keep');
const meets = process.argv.some((word) => word === '--database=mysql');
const firmware = process.argv.includes('--uefi') ? 'uefi' : 'bios';

async function main(): Promise<void> {
  const timeline = new Timeline((line) => process.stdout.write(`${line}\n`), process.stdout.isTTY === true);
  const workDir = await mkdtemp(join(tmpdir(), 'waystation-demo-'));
  const network = process.getuid?.() === 0 ? await bridgeNetwork() : userNetwork();
  let sites: Sites | undefined;
  let meeting: Meeting | undefined;
  const close = async () => {
    await sites?.close();
    await meeting?.mariadb.stop();
    await network.close();
    if (!keep) await rm(workDir, { recursive: true, force: true });
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void close().finally(() => process.exit(130)));
  try {
    announceNetwork(network, timeline);
    if (meets) meeting = await startMeeting(workDir, { netns: network.hq.netns, address: network.hq.address });
    if (meeting) timeline.say('hq', `MariaDB at ${network.hq.address}:${meeting.mariadb.port}, where both servers meet`);
    sites = await startSites(workDir, network, { database: meeting?.database });
    timeline.say('hq', `serves ${sites.hq.addresses.httpsUrl}, embedded SQLite in ${sites.hq.dataDir}`);
    timeline.say('branch-1', `serves ${sites.branch.addresses.httpsUrl}, embedded SQLite in ${sites.branch.dataDir}`);
    await walk(sites, network, timeline, workDir);
    if (keep) await leaveUp(sites, timeline);
  } finally {
    await close();
  }
}

function announceNetwork(network: LabNetwork, timeline: Timeline): void {
  if (network.kind === 'bridge') {
    timeline.say('lab', 'HQ, branch and a foreign DHCP server in network namespaces; the branch answers with its own proxyDHCP');
  } else {
    timeline.say('lab', "ordinary user: QEMU's user network gives the first URL; proxyDHCP is not part of this run");
  }
}

async function walk(sites: Sites, network: LabNetwork, timeline: Timeline, workDir: string): Promise<void> {
  const { hq } = sites;
  const imagePath = join(workDir, 'debian.raw');
  const image = await buildDebianImage({
    out: imagePath,
    cacheDir: cacheDirectory(),
    onStage: (stage) => timeline.say('lab', `Debian disk image: ${stage}`),
  });
  timeline.say('lab', `Debian disk image: ${mb(image.sizeBytes)}${image.fromCache ? ', from the cache' : ''}`);
  const imported = await hq.json<{ usedBytes: number; storedBytes: number; manifest: string }>(
    'image',
    'import',
    imagePath,
    '--name',
    'debian',
  );
  timeline.say(
    'hq',
    `imported debian@1: ${mb(imported.usedBytes)} used, ${mb(imported.storedBytes)} stored, ${imported.manifest.slice(0, 19)}`,
  );
  const engine = await hq.json<{ sizeBytes: number }>('engine', 'build');
  timeline.say('hq', `built the engine from Debian packages: ${mb(engine.sizeBytes)}`);

  if (meets) await assignParent(sites, timeline);
  else await enrol(sites, network, timeline);
  const run = await waitForReplication(sites, ['debian', 'engine'], timeline);
  timeline.say(
    'branch-1',
    `published generation ${run.generation}: ${mb(run.bytesReceived)} over the link for ${mb(run.bytesNeeded)} of content`,
  );

  const deployed = await deployMachine({
    ...{ sites, network, timeline, firmware, imagePath, workDir },
    ...{ imageReference: 'debian', mac: '52:54:00:77:61:01' },
  });
  if (deployed.comparison.differentBytes > 0) throw new Error(`the disk differs at octet ${deployed.comparison.firstDifference}`);
  if (deployed.order.state !== 'current') throw new Error(`the order is ${deployed.order.state}\n${deployed.serial.slice(-2000)}`);
  const { engine: inEngine, written, ended } = deployed.stages;
  timeline.say(
    'machine',
    `runs its own disk: power-on to engine ${seconds(inEngine)}, to written ${seconds(written)}, to first boot ${seconds(ended)}`,
  );
}

async function leaveUp(sites: Sites, timeline: Timeline): Promise<void> {
  for (const { name, addresses, dataDir, netns, operatorToken } of [sites.hq, sites.branch]) {
    const where = netns ? ` in network namespace ${netns}` : '';
    timeline.say(name, `${addresses.httpsUrl} boot ${addresses.httpUrl}${where}; try: cli/waystation image list --data ${dataDir}`);
    timeline.say(name, `console ${addresses.httpsUrl}/ with the token ${operatorToken}`);
  }
  timeline.say('lab', 'both servers stay up until Ctrl-C');
  await new Promise<never>(() => undefined);
}

function mb(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

try {
  await main();
} catch (error) {
  const { message, cause } = error as Error;
  process.stderr.write(`demo: ${message}\n${cause instanceof Error ? `${cause.stack}\n` : ''}`);
  process.exitCode = 1;
}
