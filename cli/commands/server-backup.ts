import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import { progressOf } from '../../core/progress.ts';
import type { CreatedBackup } from '../../server/backup/create.ts';
import type { InspectedBackup } from '../../server/backup/inspect.ts';
import type { Restored } from '../../server/backup/restore.ts';
import type { Frame } from '../frame.ts';
import { runLongWork } from '../long-work.ts';
import { details, formatBytes, table } from '../output.ts';
import { oneOf } from '../parse.ts';

type BackupOptions = { content: 'reference' | 'whole' };

const EXITS = `
Exit codes: 0 done, 64 usage, 65 the file is there already, is no backup or is damaged, there is a server in the directory, 66 not found,
75 disk full or directory in use, 76 made by a later release, 77 not permitted, or through --url,
78 the directory is not empty, a password file cannot be read`;

/** `server backup` and `server restore`. A backup is taken with the server up or down; a restore makes a directory. */
export function registerBackup(server: Command, frame: Frame): void {
  const backup = server
    .command('backup')
    .description('this server as one file: database, keys, configuration, and which content it needs')
    .argument('[out]', 'the file to write, or a directory in which it gets a name with the time; nothing is overwritten')
    .option(
      '--content <which>',
      'reference: only which images it needs; whole: their content too',
      oneOf('reference', 'whole'),
      'reference',
    )
    .addHelpText('after', EXITS)
    .action((out: string | undefined, options: BackupOptions) => create(frame, out, options));
  for (const verb of ['list', 'verify'] as const) {
    backup
      .command(`${verb} <file>`)
      .description(verb === 'list' ? 'what a backup holds, as it says' : 'read all of it and hold it against its hashes')
      .action((file: string) => inspect(frame, file, verb === 'verify'));
  }
  server
    .command('restore <file>')
    .description('make the server of a backup in the empty directory --data: same ids and keys, a new epoch')
    .option(
      '--database <where>',
      "where it meets other servers, if elsewhere than before: sqlite (nowhere), a data source's name, or mysql://user@host/name",
    )
    .addHelpText('after', EXITS)
    .action((file: string, options: { database?: string }) => restore(frame, file, options.database));
}

async function create(frame: Frame, out: string | undefined, { content }: BackupOptions): Promise<void> {
  if (out === undefined) throw new AppError('usage', 'no file was named', { hint: 'waystation server backup FILE' });
  const made = await runLongWork<CreatedBackup>(frame, 'backup', { kind: 'backup', path: resolve(out), content });
  frame.print(made as unknown as Json, () =>
    details([
      ['file', made.path],
      ['size', formatBytes(made.sizeBytes)],
      ['content', contentWords(made.content)],
      ['as of', made.createdAt],
    ]),
  );
  frame.say('It holds the keys of this server: whoever has it can be this server.');
}

function contentWords(content: 'reference' | 'whole'): string {
  return content === 'whole' ? 'in it' : 'not in it: which images are needed is';
}

async function inspect(frame: Frame, file: string, isVerified: boolean): Promise<void> {
  const { inspectBackup } = await import('../../server/backup/inspect.ts');
  const bar = frame.progress('reading');
  const started = performance.now();
  const report = (done: number, total: number) => bar.update(progressOf('', done, total, performance.now() - started));
  const found = await inspectBackup(resolve(file), { isVerified, report }).finally(() => bar.stop());
  frame.print(found as unknown as Json, () => describe(found));
}

function describe(found: InspectedBackup): string {
  const rows = found.members.filter(({ name }) => name.startsWith('tables/')).reduce((sum, member) => sum + (member.rows ?? 0), 0);
  const packs = found.members.filter(({ name }) => name.startsWith('packs/'));
  const facts = details([
    ['server', `${found.server.name} (${found.server.id})`],
    ['as of', found.createdAt],
    ['made by', `release ${found.program}, schema ${found.schema}`],
    ['catalogue', `generation ${found.generation} of epoch ${found.epoch}`],
    ['size', `${formatBytes(found.sizeBytes)}: ${rows} rows, ${packs.length} packs`],
    ['content', contentWords(found.content)],
    ['verified', found.verified ? 'every member is what the manifest says' : 'no (server backup verify)'],
  ]);
  if (found.images.length === 0) return facts;
  return `${facts}\n${table(
    ['IMAGE', 'USED', 'MANIFEST'],
    found.images.map(({ reference, usedBytes, manifest }) => [reference, formatBytes(usedBytes), manifest]),
  )}`;
}

async function restore(frame: Frame, file: string, database: string | undefined): Promise<void> {
  if (frame.url !== undefined) throw new AppError('usage', 'restore works on a data directory', { hint: 'name one with --data' });
  const { restoreBackup } = await import('../../server/backup/restore.ts');
  const bar = frame.progress('restore');
  const started = performance.now();
  const report = (done: number, total: number) => bar.update(progressOf('', done, total, performance.now() - started));
  const made = await restoreBackup({ from: file, dataDir: frame.dataDir, database, env: frame.env }, report).finally(() => bar.stop());
  const { notHeld, ...facts } = made;
  const missing = notHeld.map(({ id, name, version, manifest, usedBytes }) => ({
    id,
    reference: `${name}@${version}`,
    manifest,
    usedBytes,
  }));
  frame.print({ ...facts, notHeld: missing } as unknown as Json, () => describeRestored(made));
}

function describeRestored(made: Restored): string {
  return details([
    ['server', `${made.name} (${made.serverId})`],
    ['directory', made.dataDir],
    ['fingerprint', made.fingerprint],
    ['as of', made.backup.createdAt],
    ['catalogue', `generation ${made.generation} of epoch ${made.epoch}: children take it whole with their next run`],
    ['images', `${made.held} held and verified, ${made.notHeld.length} not held`],
    ...made.notHeld.map(({ name, version }) => ['not held', `${name}@${version}`] as const),
    ['orders ended', made.orders],
    ['tokens ended', `${made.enrolTokens} enrolment tokens that were not used`],
    ['look at', 'what was revoked since (server revoke), and who enrolled since (join again): a backup does not know'],
    ['next', `waystation serve --data ${made.dataDir}`],
  ]);
}
