import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const directories: string[] = [];

/**
 * A directory that is gone when this process has ended. A hook would take it away from under what still works in it: hooks run in
 * the order in which they were registered, and when one fails, since somebody wrote meanwhile, none behind it closes anything.
 */
export async function temporaryDirectory(name = 'test'): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), `waystation-${name}-`));
  if (directories.push(directory) === 1) process.once('exit', removeAll);
  return directory;
}

function removeAll(): void {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
}
