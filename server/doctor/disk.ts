import { access, constants, statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type Finding, fail, ok, warn } from './finding.ts';

/** Room and rights on the file system of the data directory (or of what will become its parent). */
export async function checkDisk(dataDir: string, reserveBytes: number): Promise<readonly Finding[]> {
  const place = await nearestExisting(resolve(dataDir));
  return [await checkSpace(place, reserveBytes), await checkWritable(place)];
}

async function checkSpace(place: string, reserveBytes: number): Promise<Finding> {
  const { bavail, bsize, ffree, files } = await statfs(place);
  const free = bavail * bsize;
  const figure = `${(free / 1e9).toFixed(1)} GB free at ${place}`;
  if (files > 0 && ffree < 1000)
    return fail('disk space', `only ${ffree} inodes free at ${place}`, 'free some, or move the data directory');
  if (free < reserveBytes) {
    return fail(
      'disk space',
      `${figure}, less than storeReserveBytes (${(reserveBytes / 1e9).toFixed(1)} GB)`,
      'free some, or lower the reserve',
    );
  }
  return free < reserveBytes * 2
    ? warn('disk space', `${figure}, little more than the reserve`, 'free some before the next image')
    : ok('disk space', figure);
}

async function checkWritable(place: string): Promise<Finding> {
  try {
    await access(place, constants.W_OK | constants.X_OK);
    return ok('disk rights', `${place} can be written`);
  } catch (error) {
    return fail('disk rights', `${place} cannot be written (${(error as NodeJS.ErrnoException).code})`, 'run as the user that owns it');
  }
}

async function nearestExisting(path: string): Promise<string> {
  try {
    await access(path);
    return path;
  } catch (error) {
    const parent = dirname(path);
    if (parent === path) throw error;
    return nearestExisting(parent);
  }
}
