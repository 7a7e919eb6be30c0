import { openLaboratory } from '../test/helpers/lab/laboratory.ts';
import type { Run } from '../test/helpers/lab/sites.ts';

export type JourneyBench = {
  readonly firmware: 'bios' | 'uefi';
  readonly first: Run;
  /** A run with nothing new, inside the serving branch. */
  readonly again: Run;
  /** Milliseconds since power-on. */
  readonly stages: Readonly<Record<'engine' | 'written' | 'rebooted' | 'ended', number>>;
  readonly diskMBs: number;
};

/** One whole path: bytes over the link for a first and a second replication, and a machine's stages from power-on to first boot. */
export async function benchJourney(firmware: 'bios' | 'uefi'): Promise<JourneyBench> {
  const lab = await openLaboratory({});
  try {
    const again = await lab.sites.branch.json<Run>('sync', 'run', '--wait');
    const deployed = await lab.deploy({ firmware, image: 'debian' });
    if (deployed.order.state !== 'current') throw new Error(`the order is ${deployed.order.state}`);
    return { firmware, first: lab.replication, again, stages: deployed.stages, diskMBs: deployed.diskMBs };
  } finally {
    await lab.close();
  }
}
