import { statSync } from 'node:fs';
import type { Frame } from './frame.ts';

/** Asks before a file that is there is written over. What is no file is refused by whoever writes. */
export async function askToReplace(frame: Frame, path: string, isAgreed: boolean): Promise<void> {
  if (statSync(path, { throwIfNoEntry: false })?.isFile()) await frame.confirm(`Replace ${path}?`, isAgreed);
}
