import { writeFile } from 'node:fs/promises';
import type { Inventory } from '../core/agent-protocol.ts';
import { setNextBoot } from './boot-order.ts';
import { runProgram } from './command-process.ts';
import { readInventory } from './inventory.ts';

/** The machine the agent stands on; a folder and some files in tests. */
export type Machine = {
  inventory(): Promise<Inventory>;
  /** Where the disk with this kernel name is opened. */
  diskPath(name: string): string;
  setClock(epochMs: number): Promise<void>;
  /** So that the next reads come from the disks. */
  dropCaches(): Promise<void>;
  /** Makes the disk the next thing that the firmware boots; `espPartition` is the number of its EFI system partition. */
  setNextBoot(disk: string, espPartition: number | undefined): Promise<void>;
  /** Does not return on a real machine. */
  reboot(): Promise<void>;
};

/** The real one: root in the engine. */
export const MACHINE: Machine = {
  inventory: () => readInventory('/'),
  diskPath: (name) => `/dev/${name.replaceAll('!', '/')}`,
  setClock: async (epochMs) => {
    await runProgram('busybox', ['date', '-s', `@${Math.floor(epochMs / 1000)}`]);
  },
  dropCaches: () => writeFile('/proc/sys/vm/drop_caches', '3'),
  setNextBoot: (disk, espPartition) => setNextBoot(disk, espPartition, runProgram),
  reboot: async () => {
    await runProgram('busybox', ['sync']);
    await runProgram('busybox', ['reboot', '-f']);
  },
};
