import { readdir, readFile, readlink } from 'node:fs/promises';
import { basename } from 'node:path';

/*
 * Small reads of /sys and /proc. A file that is not there, or that the kernel refuses to read (EIO, EINVAL of
 * attributes without a value), is an absent fact, not a failure: machines differ.
 */

/** A file's text without surrounding white space, at most `max` characters; undefined when it is absent or empty. */
export async function readFact(path: string, max = 256): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '');
  // Firmware pads its strings with anything; what is not text is not wanted further up.
  const clean = text
    .replaceAll(/[\p{Cc}\uFFFD]+/gu, ' ')
    .trim()
    .slice(0, max);
  return clean === '' ? undefined : clean;
}

/** A whole number from a file; undefined when it is absent or no number. */
export async function readNumber(path: string): Promise<number | undefined> {
  const text = await readFact(path);
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

export async function listFolder(path: string): Promise<string[]> {
  return (await readdir(path).catch(() => [])).sort();
}

/** The last part of where a link points to: the driver's name in `…/device/driver`. */
export async function linkName(path: string): Promise<string | undefined> {
  const target = await readlink(path).catch(() => '');
  return target === '' ? undefined : basename(target);
}

/** Leaves out members without a value, as exact optional properties want it. */
export function withoutAbsent<T extends Record<string, unknown>>(members: T): { [Key in keyof T]: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never;
}
