import { rm } from 'node:fs/promises';
import type { DatabaseGuest } from './database-guest.ts';
import { recoverDisk } from './disk.ts';

/** The disk of a machine that is off, seen from outside. Throws with the words of e2fsck when its file system is not whole. */
export async function checkDisk({ toolbox, dataDisk }: DatabaseGuest, copy: string): Promise<void> {
  try {
    await recoverDisk(toolbox, dataDisk, copy);
  } finally {
    await rm(copy, { force: true });
  }
}

/**
 * CHECK TABLE on every table of InnoDB, each index against its rows. Gives what it says other than OK. The server's own tables
 * of another kind (Aria) only count how often they were open when the power went, be it by this check.
 */
export async function checkTables({ ask }: DatabaseGuest): Promise<string[]> {
  const names = await ask("select concat(table_schema, '.`', table_name, '`') from information_schema.tables where engine = 'InnoDB'");
  const said = await ask(`check table ${names.trim().split('\n').join(', ')} extended`);
  const lines = said.trim().split('\n');
  return lines.filter((line) => !line.endsWith('\tcheck\tstatus\tOK'));
}
