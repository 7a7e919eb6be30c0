import { watch } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Gives each line that is added to a file from now on, also after the file was rotated (a new inode, or shorter).
 * Reading starts with the returned function, so that what came before can be printed first; it ends with `signal`.
 */
export function followFile(path: string, signal: AbortSignal, onLine: (text: string) => void): () => Promise<void> {
  const start = stat(path).then(
    ({ size, ino }) => ({ offset: size, inode: ino }),
    () => ({ offset: 0, inode: 0 }),
  );
  return async () => {
    const position = { ...(await start), rest: '' };
    let wake = (): void => undefined;
    // The directory, because the file itself is renamed away at rotation.
    const watcher = watch(dirname(path), () => wake());
    signal.addEventListener('abort', () => wake(), { once: true });
    try {
      while (!signal.aborted) {
        const changed = new Promise<void>((resolve) => {
          wake = resolve;
        });
        await readNew(path, position, onLine);
        if (!signal.aborted) await changed;
      }
    } finally {
      watcher.close();
    }
  };
}

type Position = { offset: number; inode: number; rest: string };

async function readNew(path: string, position: Position, onLine: (text: string) => void): Promise<void> {
  const file = await openIfThere(path);
  if (file === undefined) return;
  try {
    const { size, ino } = await file.stat();
    if (ino !== position.inode || size < position.offset) Object.assign(position, { offset: 0, inode: ino, rest: '' });
    if (size === position.offset) return;
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - position.offset), 0, size - position.offset, position.offset);
    position.offset += bytesRead;
    const lines = (position.rest + buffer.toString('utf8', 0, bytesRead)).split('\n');
    position.rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  } finally {
    await file.close();
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
