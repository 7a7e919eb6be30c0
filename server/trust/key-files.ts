import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError } from '../../core/errors.ts';

/**
 * Writes a secret so that after a crash the old or the new file is there, whole: temporary file of mode
 * 0600 beside it, fsync, rename, fsync of the directory.
 */
export async function writeSecretFile(path: string, text: string): Promise<void> {
  const directory = dirname(path);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(directory);
}

/** Reads a PEM file that must be there and hold something. Throws `unreadable_secret`: nothing replaces a key silently. */
export async function readSecretFile(path: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new AppError('unreadable_secret', `cannot read the key file ${path}: ${why}`, { hint: keyHint(path), cause });
  }
  if (!text.includes('-----BEGIN ')) {
    throw new AppError('unreadable_secret', `the key file ${path} ${text.trim() === '' ? 'is empty' : 'is not PEM'}`, {
      hint: keyHint(path),
    });
  }
  return text;
}

/** The first PEM block with this label in a text that may hold several (RFC 7468 §2). */
export function pemBlock(text: string, label: string): string | undefined {
  return pemBlocks(text, label)[0];
}

export function pemBlocks(text: string, label: string): string[] {
  const block = new RegExp(`-----BEGIN ${label}-----[^-]+-----END ${label}-----`, 'g');
  return [...text.matchAll(block)].map((match) => `${match[0]}\n`);
}

/** An error for a key file whose content is not what its name says. */
export function brokenKeyFile(path: string, what: string, cause?: unknown): AppError {
  return new AppError('unreadable_secret', `the key file ${path} ${what}`, { hint: keyHint(path), cause });
}

function keyHint(path: string): string {
  return `restore it from a backup or give the server's user the right to read it (mode 0600); see ${join(dirname(path), '..')}`;
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
