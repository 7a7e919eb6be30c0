import { join } from 'node:path';

/** Where a machine's network card is plugged in. */
export type MachineNetwork =
  | { readonly kind: 'none' }
  /**
   * QEMU's own NAT. `bootFile` is what its DHCP names: an HTTP URL for its iPXE ROM, or a path below `tftpDir`.
   * `forward` leads ports of 127.0.0.1 to ports of the guest.
   */
  | { readonly kind: 'user'; readonly bootFile?: string; readonly tftpDir?: string; readonly forward?: readonly Forward[] }
  /** A tap device that exists already (in `netns`, if that is given). */
  | { readonly kind: 'tap'; readonly device: string; readonly netns?: string };

export type Forward = { readonly hostPort: number; readonly guestPort: number };

export type MachineOptions = {
  readonly firmware: 'bios' | 'uefi';
  /** A raw disk; the machine writes to it. */
  readonly disk?: string;
  /** More disks, in this order (vda, vdb … when there is no `disk`); `file` is a path or a URL that QEMU knows. */
  readonly drives?: readonly { readonly file: string; readonly readOnly?: boolean }[];
  /** Starts this kernel at once, without boot loader or network boot. */
  readonly kernel?: { readonly vmlinuz: string; readonly initrd: string; readonly commandLine: string };
  /** An empty folder of the caller for the serial log and the machine's own NVRAM; kept when there is one already. */
  readonly directory: string;
  readonly network: MachineNetwork;
  /** `disk` leaves the network out of the boot order; default is network first, then disk. */
  readonly bootFrom?: 'network' | 'disk';
  readonly memoryMb?: number;
  readonly mac?: string;
  readonly uuid?: string;
  /** Ends the program where the machine would restart. */
  readonly noReboot?: boolean;
};

const OVMF_CODE = '/usr/share/OVMF/OVMF_CODE_4M.fd';
export const OVMF_VARIABLES = '/usr/share/OVMF/OVMF_VARS_4M.fd';

export function serialLogOf(directory: string): string {
  return join(directory, 'serial.log');
}

export function variablesOf(directory: string): string {
  return join(directory, 'nvram.fd');
}

function firmwareArguments(options: MachineOptions): string[] {
  if (options.firmware === 'bios') return [];
  return [
    ...['-drive', `if=pflash,format=raw,unit=0,readonly=on,file=${OVMF_CODE}`],
    ...['-drive', `if=pflash,format=raw,unit=1,file=${variablesOf(options.directory)}`],
  ];
}

function networkArguments(options: MachineOptions): string[] {
  const { network, mac = '52:54:00:77:61:79' } = options;
  if (network.kind === 'none') return ['-nic', 'none'];
  const order = options.bootFrom === 'disk' ? 'romfile=' : 'bootindex=1';
  const device = ['-device', `virtio-net-pci,netdev=n0,mac=${mac},${order}`];
  if (network.kind === 'tap') return ['-netdev', `tap,id=n0,ifname=${network.device},script=no,downscript=no`, ...device];
  const boot = network.bootFile === undefined ? '' : `,bootfile=${network.bootFile}`;
  const tftp = network.tftpDir === undefined ? '' : `,tftp=${network.tftpDir}`;
  const forward = (network.forward ?? []).map(({ hostPort, guestPort }) => `,hostfwd=tcp:127.0.0.1:${hostPort}-:${guestPort}`);
  return ['-netdev', `user,id=n0${tftp}${boot}${forward.join('')}`, ...device];
}

function driveArguments(file: string, index: number, readOnly: boolean): string[] {
  const access = readOnly ? ',readonly=on' : '';
  return ['-drive', `if=none,id=e${index},format=raw${access},file=${file}`, '-device', `virtio-blk-pci,drive=e${index}`];
}

function startArguments({ disk, drives, kernel }: MachineOptions): string[] {
  const drive = ['-drive', `if=none,id=d0,format=raw,discard=unmap,file=${disk}`, '-device', 'virtio-blk-pci,drive=d0,bootindex=2'];
  return [
    ...(disk === undefined ? [] : drive),
    ...(drives ?? []).flatMap(({ file, readOnly }, index) => driveArguments(file, index, readOnly ?? false)),
    ...(kernel === undefined ? [] : ['-kernel', kernel.vmlinuz, '-initrd', kernel.initrd, '-append', kernel.commandLine]),
  ];
}

/** The arguments of qemu-system-x86_64: software emulation only, one virtio disk, one virtio card, a serial log. */
export function qemuArguments(options: MachineOptions): string[] {
  return [
    ...['-accel', 'tcg', '-cpu', 'max', '-machine', 'q35', '-m', String(options.memoryMb ?? 1024), '-nodefaults', '-vga', 'std'],
    ...firmwareArguments(options),
    ...startArguments(options),
    ...networkArguments(options),
    ...(options.uuid === undefined ? [] : ['-uuid', options.uuid]),
    ...(options.noReboot ? ['-no-reboot'] : []),
    ...['-display', 'none', '-serial', `file:${serialLogOf(options.directory)}`, '-qmp', 'stdio'],
  ];
}
