import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheDirectory } from '../cache.ts';
import { buildDebianImage } from '../debian-image.ts';
import { type Deployment, deployMachine } from './deployment.ts';
import { bridgeNetwork, type LabNetwork, userNetwork } from './network.ts';
import { enrol, type Run, type Sites, startSites, waitForReplication } from './sites.ts';
import { Timeline } from './timeline.ts';

export type Laboratory = {
  readonly sites: Sites;
  readonly network: LabNetwork;
  readonly workDir: string;
  /** The run that brought image and engine to the branch. */
  readonly replication: Run;
  deploy(machine: { firmware: 'bios' | 'uefi'; image: string }): Promise<Deployment>;
  close(): Promise<void>;
};

export type LaboratoryOptions = { readonly withoutKernel?: boolean; readonly branchEnv?: Record<string, string> };

/** HQ with the Debian image and an engine, and an enrolled branch that holds both: ready for machines. Lines go to stderr. */
export async function openLaboratory(options: LaboratoryOptions): Promise<Laboratory> {
  const timeline = new Timeline((line) => process.stderr.write(`${line}\n`), false);
  const workDir = await mkdtemp(join(tmpdir(), 'waystation-lab-'));
  const network = process.getuid?.() === 0 ? await bridgeNetwork() : userNetwork();
  const sites = await startSites(workDir, network, { branchEnv: options.branchEnv ?? {} });
  const close = async () => {
    await sites.close();
    await network.close();
    await rm(workDir, { recursive: true, force: true });
  };
  try {
    const imagePath = join(workDir, 'debian.raw');
    await buildDebianImage({ out: imagePath, cacheDir: cacheDirectory(), withoutKernel: options.withoutKernel ?? false });
    await sites.hq.json('image', 'import', imagePath, '--name', 'debian');
    await sites.hq.json('engine', 'build');
    await enrol(sites, network, timeline);
    const replication = await waitForReplication(sites, ['debian', 'engine'], timeline);
    return {
      ...{ sites, network, workDir, replication, close },
      deploy: ({ firmware, image }) =>
        deployMachine({ sites, network, timeline, firmware, imagePath, imageReference: image, workDir, mac: '52:54:00:77:61:01' }),
    };
  } catch (error) {
    await close();
    throw error;
  }
}
