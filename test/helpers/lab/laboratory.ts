import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheDirectory } from '../cache.ts';
import { buildDebianImage } from '../debian-image.ts';
import type { Mariadb } from '../mariadb.ts';
import { type Meeting, startMeeting } from '../meeting.ts';
import { type Deployment, deployMachine } from './deployment.ts';
import { bridgeNetwork, type LabNetwork, userNetwork } from './network.ts';
import { initServer, type LabServer } from './server.ts';
import { ANY_PORTS, assignParent, enrol, type Run, type Sites, startSites, waitForReplication } from './sites.ts';
import { Timeline } from './timeline.ts';

/** The address of the machine of a laboratory. */
export const MACHINE = '52:54:00:77:61:01';

export type Laboratory = {
  readonly sites: Sites;
  readonly network: LabNetwork;
  readonly timeline: Timeline;
  readonly workDir: string;
  /** The run that brought image and engine to the branch. */
  readonly replication: Run;
  /** Where the servers meet, and one that meets them there and has no link to anybody; only with `meets`. */
  readonly meeting: { readonly mariadb: Mariadb; readonly office: LabServer } | undefined;
  deploy(machine: { firmware: 'bios' | 'uefi'; image: string; order?: { readonly id: string } }): Promise<Deployment>;
  close(): Promise<void>;
};

export type LaboratoryOptions = {
  readonly withoutKernel?: boolean;
  readonly branchEnv?: Record<string, string>;
  /** All servers meet in a MariaDB at HQ, and the branch gets its parent there. */
  readonly meets?: boolean;
};

/** HQ with the Debian image and an engine, and an enrolled branch that holds both: ready for machines. Lines go to stderr. */
export async function openLaboratory(options: LaboratoryOptions): Promise<Laboratory> {
  const timeline = new Timeline((line) => process.stderr.write(`${line}\n`), false);
  const workDir = await mkdtemp(join(tmpdir(), 'waystation-lab-'));
  const network = process.getuid?.() === 0 ? await bridgeNetwork() : userNetwork();
  const open: (() => Promise<void>)[] = [network.close];
  const close = async () => {
    for (const end of open.toReversed()) await end();
    await rm(workDir, { recursive: true, force: true });
  };
  try {
    const database = options.meets ? await startMeeting(workDir, { netns: network.hq.netns, address: network.hq.address }) : undefined;
    if (database) open.push(database.mariadb.stop);
    const sites = await startSites(workDir, network, { branchEnv: options.branchEnv ?? {}, database: database?.database });
    open.push(sites.close);
    const meeting = database && { mariadb: database.mariadb, office: await startOffice(database, network, workDir) };
    if (meeting) open.push(meeting.office.stop);
    const imagePath = join(workDir, 'debian.raw');
    await buildDebianImage({ out: imagePath, cacheDir: cacheDirectory(), withoutKernel: options.withoutKernel ?? false });
    await sites.hq.json('image', 'import', imagePath, '--name', 'debian');
    await sites.hq.json('engine', 'build');
    if (meeting) await assignParent(sites, timeline);
    else await enrol(sites, network, timeline);
    const replication = await waitForReplication(sites, ['debian', 'engine'], timeline);
    return {
      ...{ sites, network, timeline, workDir, replication, meeting, close },
      deploy: ({ firmware, image, order }) =>
        deployMachine({ sites, network, timeline, firmware, imagePath, imageReference: image, order, workDir, mac: MACHINE }),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function startOffice({ database }: Meeting, { hq }: LabNetwork, workDir: string): Promise<LabServer> {
  const initArgs = [...ANY_PORTS, '--database', database];
  return initServer({ name: 'office', dataDir: join(workDir, 'office'), netns: hq.netns, initArgs });
}
