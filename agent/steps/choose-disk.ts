import { type DeployTask, FIRST_BOOT_RECORD_BYTES, type Inventory } from '../../core/agent-protocol.ts';
import { AppError } from '../../core/errors.ts';
import { printable } from '../../core/ids.ts';

export type InventoryDisk = Inventory['disks'][number];
type Wanted = Pick<DeployTask, 'imageName' | 'arch' | 'bootType' | 'sizeBytes' | 'sectorSize' | 'disk'>;

/**
 * The disk that the task goes to: the one it names, or the smallest fixed disk that fits. Nothing was written yet.
 * Throws `does_not_fit`, saying what of the machine is not as the image needs it.
 */
export function chooseDisk(task: Wanted, inventory: Inventory): InventoryDisk {
  refuseOtherMachine(task, inventory);
  const named = task.disk === null ? undefined : inventory.disks.find((disk) => disk.name === task.disk);
  if (task.disk !== null && named === undefined) {
    throw misfit(
      `the order names disk ${task.disk}; this machine has ${listDisks(inventory.disks)}`,
      'order it without a disk, or name one of these',
    );
  }
  const candidates = named === undefined ? inventory.disks.filter((disk) => disk.removable !== true) : [named];
  if (candidates.length === 0)
    throw misfit('this machine has no fixed disk', 'is the disk connected, and does the engine have its driver?');
  const [smallest] = candidates.filter((disk) => whyNot(task, disk) === undefined).sort((a, b) => a.sizeBytes - b.sizeBytes);
  if (smallest !== undefined) return smallest;
  const reasons = candidates.map((disk) => whyNot(task, disk)).join('; ');
  throw misfit(`image ${task.imageName} fits no disk of this machine: ${reasons}`, 'choose another image or another disk');
}

function refuseOtherMachine(task: Wanted, inventory: Inventory): void {
  if (task.arch !== inventory.arch) {
    throw misfit(`image ${task.imageName} is for ${task.arch}, this machine is ${inventory.arch}`, 'choose an image made for this machine');
  }
  if ((task.bootType === 'bios' || task.bootType === 'uefi') && task.bootType !== inventory.firmware) {
    const hint = `switch the machine's firmware to ${task.bootType}, or choose an image that boots with ${inventory.firmware}`;
    throw misfit(`image ${task.imageName} boots with ${task.bootType} firmware, this machine was started by ${inventory.firmware}`, hint);
  }
}

/** Why the image cannot go to this disk, or undefined when it can. */
function whyNot(task: Wanted, disk: InventoryDisk): string | undefined {
  const name = printable(disk.name);
  if (disk.sectorSize !== task.sectorSize) {
    return `${name} has sectors of ${disk.sectorSize} bytes, the image was made for ${task.sectorSize}`;
  }
  const needed = task.sizeBytes + FIRST_BOOT_RECORD_BYTES;
  if (disk.sizeBytes >= needed) return undefined;
  return `${name} has ${disk.sizeBytes} bytes, ${needed} are needed (${task.sizeBytes} for the image, ${FIRST_BOOT_RECORD_BYTES} for the first-boot record)`;
}

function listDisks(disks: readonly InventoryDisk[]): string {
  return disks.map((disk) => printable(disk.name)).join(', ') || 'none';
}

function misfit(message: string, hint: string): AppError {
  return new AppError('does_not_fit', message, { hint });
}
