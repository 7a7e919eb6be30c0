import { open, rm } from 'node:fs/promises';
import { AppError } from '../core/errors.ts';

export type SecretFile = { write(text: string): Promise<void>; remove(): Promise<void> };

/**
 * Makes a new, empty file that its owner alone can read (0600); what is to be in it follows. One that is there already is left
 * alone: nothing is written into what somebody else prepared. Errors: `usage`, also when it cannot be made.
 */
export async function createSecretFile(path: string): Promise<SecretFile> {
  const file = await open(path, 'wx', 0o600).catch((cause: NodeJS.ErrnoException) => {
    const words = cause.code === 'EEXIST' ? `${path} is there already` : `cannot make ${path}: ${cause.code}`;
    throw new AppError('usage', words, { hint: 'name a new file in a directory of yours', cause });
  });
  return {
    write: async (text) => {
      await file.writeFile(text);
      await file.sync();
      await file.close();
    },
    remove: async () => {
      await file.close();
      await rm(path, { force: true });
    },
  };
}
