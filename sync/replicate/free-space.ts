import { AppError } from '../../core/errors.ts';
import type { RunTools } from './ports.ts';

const MIB = 1_048_576;

/**
 * Makes sure that `bytes` more fit beside the reserve. Throws `disk_full` with both figures, before anything is
 * fetched that could not be kept.
 */
export async function requireRoom(tools: Pick<RunTools, 'freeBytes' | 'reserveBytes' | 'incoming'>, bytes: number): Promise<void> {
  const free = await tools.freeBytes();
  const needed = bytes + tools.reserveBytes;
  if (free >= needed) return;
  throw diskFull(tools.incoming, `needs ${inMib(needed)} (${inMib(tools.reserveBytes)} of it a reserve), ${inMib(free)} are free`);
}

export function diskFull(path: string, why: string, cause?: unknown): AppError {
  return new AppError('disk_full', `replication ${why} on the file system of ${path}`, {
    hint: 'make room (waystation store gc, image delete): what has arrived is kept, and a running server goes on by itself',
    cause,
  });
}

function inMib(bytes: number): string {
  return `${Math.ceil(bytes / MIB)} MiB`;
}
