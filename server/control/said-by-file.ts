import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import { type Id, printable } from '../../core/ids.ts';
import { serverName } from './servers-below.ts';

/** The refusal of what a file says ("site apply") and operators here may not set, with the file and the server where it was applied. */
export async function saidByFile(
  db: Knex,
  what: string,
  { file, owner }: { readonly file: string; readonly owner: string },
): Promise<AppError> {
  const at = await serverName(db, owner as Id);
  return new AppError('not_permitted', `${what} is what ${printable(file)} of server ${at} says`, {
    hint: `change it there and apply it: waystation site apply ${printable(file)}`,
  });
}
