import { watch } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { rotatedName } from '../server/log-file.ts';

type Place = { file: FileHandle | undefined; inode: number; offset: number; rest: string };

/**
 * Gives each line that is added to a log file from now on, over any number of rotations. Reading starts with the
 * returned function, so that what came before can be printed first; it ends with `signal`.
 */
export async function followFile(path: string, signal: AbortSignal, onLine: (text: string) => void): Promise<() => Promise<void>> {
  const place = await openPlace(path);
  if (place.file !== undefined) place.offset = (await place.file.stat()).size;
  return async () => {
    let wake = (): void => undefined;
    // The directory, because the file itself is renamed away at rotation.
    const watcher = watch(dirname(path), () => wake());
    signal.addEventListener('abort', () => wake(), { once: true });
    try {
      while (!signal.aborted) {
        const changed = new Promise<void>((resolve) => {
          wake = resolve;
        });
        await catchUp(path, place, onLine);
        if (!signal.aborted) await changed;
      }
    } finally {
      watcher.close();
      await place.file?.close();
    }
  };
}

/** Reads to the end of the newest file, through those that were put aside since the last look. */
async function catchUp(path: string, place: Place, onLine: (text: string) => void): Promise<void> {
  for (;;) {
    // First where our file is now, then its end: once it was put aside nobody adds to it.
    const age = place.file === undefined ? undefined : await ageOf(path, place.inode);
    await readToEnd(place, onLine);
    if (age === 0) return;
    const next = await openPlace(rotatedName(path, (age ?? 1) - 1));
    if (next.file === undefined) return;
    if (next.inode === place.inode) await next.file.close();
    else {
      await place.file?.close();
      Object.assign(place, next);
    }
  }
}

/** How often our file was put aside: its number; undefined when it was removed. */
async function ageOf(path: string, inode: number): Promise<number | undefined> {
  for (let age = 0; ; age++) {
    const found = await inodeOf(rotatedName(path, age));
    if (found === inode) return age;
    // Between two renames the newest name is nobody's for a moment.
    if (found === undefined && age > 0) return undefined;
  }
}

async function inodeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).ino;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function openPlace(path: string): Promise<Place> {
  try {
    const file = await open(path, 'r');
    return { file, inode: (await file.stat()).ino, offset: 0, rest: '' };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { file: undefined, inode: 0, offset: 0, rest: '' };
    throw error;
  }
}

async function readToEnd(place: Place, onLine: (text: string) => void): Promise<void> {
  const buffer = Buffer.alloc(65_536);
  for (;;) {
    const bytesRead = (await place.file?.read(buffer, 0, buffer.byteLength, place.offset))?.bytesRead ?? 0;
    if (bytesRead === 0) return;
    place.offset += bytesRead;
    const lines = (place.rest + buffer.toString('latin1', 0, bytesRead)).split('\n');
    place.rest = lines.pop() ?? '';
    // Kept as octets until a line is whole: a character may lie across two reads.
    for (const line of lines) onLine(Buffer.from(line, 'latin1').toString('utf8'));
  }
}
