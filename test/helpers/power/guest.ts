import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Machine, startMachine } from '../qemu.ts';
import type { GuestKernel } from './kernel.ts';
import { serveDisk } from './nbd-server.ts';
import { VolatileDisk } from './volatile-disk.ts';

/**
 * A machine whose power can be cut: its root is a program (read-only), and one disk of its own has a write cache that is
 * lost with the power. What the program had not brought to that disk with fsync is then gone, in the guest's memory and
 * in the disk's cache alike.
 */
export type GuestOptions = {
  /** An empty folder for logs and sockets. */
  readonly directory: string;
  readonly kernel: GuestKernel;
  readonly program: string;
  /** The raw file of the guest's own disk, mounted at /data. */
  readonly dataDisk: string;
  /** Further disks that are only read, each with the place where it is mounted. */
  readonly readOnly: readonly { readonly file: string; readonly place: string }[];
  /** Connections to these ports of 127.0.0.1 go to ports of the guest. */
  readonly forward: readonly { readonly hostPort: number; readonly guestPort: number }[];
  readonly memoryMb?: number;
};

export type Guest = {
  /** Starts the machine on what its disk holds. Its console is new each time. */
  boot(): Promise<Machine>;
  /** Cuts the power of machine and disk at once; `survives` is asked for every sector that was not flushed. Gives how many were lost. */
  cut(survives: () => boolean): Promise<number>;
  /** What the console said since the last start. */
  consoleText(): Promise<string>;
  readonly disk: VolatileDisk;
  close(): Promise<void>;
};

const COMMAND_LINE = 'console=ttyS0,115200 loglevel=5 panic=-1 mitigations=off random.trust_cpu=on';

export async function makeGuest(options: GuestOptions): Promise<Guest> {
  await mkdir(options.directory, { recursive: true });
  const disk = new VolatileDisk(options.dataDisk);
  const socketPath = join(options.directory, 'disk.sock');
  const server = await serveDisk(disk, socketPath);
  let machine: Machine | undefined;
  return {
    disk,
    boot: async () => {
      disk.on();
      machine = await startMachine(machineOptions(options, `nbd+unix:///?socket=${socketPath}`));
      return machine;
    },
    cut: async (survives) => {
      const before = disk.figures.lostSectors;
      disk.cut(survives);
      await machine?.kill();
      return disk.figures.lostSectors - before;
    },
    consoleText: async () => (await machine?.serialText()) ?? '',
    close: async () => {
      await machine?.kill();
      await server.close();
      disk.close();
      await rm(socketPath, { force: true });
    },
  };
}

function machineOptions({ directory, kernel, program, readOnly, forward, memoryMb }: GuestOptions, dataDisk: string) {
  const drives = [{ file: program, readOnly: true }, { file: dataDisk }, ...readOnly.map(({ file }) => ({ file, readOnly: true }))];
  const mounts = ['vda:/:ro', 'vdb:/data:rw,errors=remount-ro', ...readOnly.map(({ place }, index) => `vd${'cdefgh'[index]}:${place}:ro`)];
  return {
    firmware: 'bios',
    directory,
    drives,
    kernel: { ...kernel, commandLine: [COMMAND_LINE, ...mounts.map((mount) => `mount=${mount}`)].join(' ') },
    network: { kind: 'user', forward },
    memoryMb: memoryMb ?? 1024,
    noReboot: true,
  } as const;
}
