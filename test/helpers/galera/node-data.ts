import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { putEmptyData } from '../mariadb-data.ts';
import { program, run } from '../mariadb-programs.ts';
import { NOBODY, type NodePlace, serverArguments } from './arguments.ts';

/** Its directories, for whom it runs as. */
export async function makeDirectories({ dir }: NodePlace): Promise<void> {
  for (const each of [dir, join(dir, 'data')]) {
    await mkdir(each, { recursive: true });
    if (NOBODY !== undefined) await chown(each, NOBODY.id, NOBODY.id);
  }
}

/** Its first data: a server without tables of anybody. */
export async function installData({ dir }: NodePlace): Promise<void> {
  const data = join(dir, 'data');
  await rm(data, { recursive: true, force: true });
  await putEmptyData(data);
  if (NOBODY !== undefined) run('chown', ['-R', NOBODY.user, data]);
}

/** The data of a neighbour that stopped in order. */
export function copyData(from: NodePlace, { dir }: NodePlace): void {
  run('cp', ['-a', '--sparse=always', join(from.dir, 'data'), dir]);
}

/** How far a node's data goes (`CLUSTER:NUMBER`). What a killed one did not write down is asked as Debian's service asks it before each start. */
export async function recoverPosition(place: NodePlace): Promise<string | undefined> {
  const state = await readFile(join(place.dir, 'data', 'grastate.dat'), 'utf8').catch(() => undefined);
  if (state === undefined) return undefined;
  const [cluster, number] = ['uuid', 'seqno'].map((name) => new RegExp(`^${name}: +(\\S+)$`, 'm').exec(state)?.[1]);
  if (number !== '-1') return `${cluster}:${number}`;
  const log = join(place.dir, 'recover.log');
  const child = spawn(program('mariadbd'), [...serverArguments(place), '--wsrep-recover', `--log-error=${log}`], { stdio: 'ignore' });
  await once(child, 'exit');
  const text = await readFile(log, 'utf8');
  const position = /Recovered position: (\S+)/.exec(text)?.[1];
  await rm(log, { force: true });
  if (position === undefined) throw new Error(`no position of a node that was killed: ${text}`);
  return position;
}

/** After all were killed nobody but an administrator knows who went furthest, and says so there. */
export async function allowToBeFirst({ dir }: NodePlace): Promise<void> {
  const file = join(dir, 'data', 'grastate.dat');
  await writeFile(file, (await readFile(file, 'utf8')).replace(/safe_to_bootstrap: 0/, 'safe_to_bootstrap: 1'));
}

/** How a node that starts gets what it missed: only that, from a neighbour's memory, or a copy of everything. */
export type Joining = 'IST' | 'SST' | 'nothing';

/** What a node's log says of its start. */
export function joiningOf(log: string): Joining {
  const kind = /rsync (IST|SST) completed on joiner/.exec(log)?.[1];
  return (kind as Joining | undefined) ?? 'nothing';
}
