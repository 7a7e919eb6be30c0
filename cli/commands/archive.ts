import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import type { Toc } from '../../core/toc.ts';
import type { CreatedArchive } from '../../server/archives/create.ts';
import type { InspectedArchive } from '../../server/archives/inspect.ts';
import type { LoadedArchive } from '../../server/archives/load.ts';
import { askToReplace } from '../ask-to-replace.ts';
import type { Frame } from '../frame.ts';
import { runLongWork } from '../long-work.ts';
import { details, formatBytes, table } from '../output.ts';
import { work } from '../work.ts';

type CreateOptions = { want?: string[]; have?: string; out: string; yes?: boolean };

const EXITS = `
Exit codes: 0 done, 1 partial or older than what is held, 64 usage, 65 no archive file, damaged or cut off, 66 not found,
75 disk full, run in progress or directory in use, 77 signature, expired, revoked, or a file through --url`;

/** `waystation archive …`: what a run brings over the link, as a file. create and load work with the server up or down. */
export function register(program: Command, frame: Frame): void {
  const archive = program
    .command('archive')
    .description('replication by file: seed a branch from a stick, carry an image home')
    .addHelpText('after', EXITS);
  archive
    .command('toc')
    .description('what this server holds, for who makes an archive file for it')
    .option('--out <file>', 'write it there')
    .option('--yes', 'replace the file if it is there')
    .action((options: { out?: string; yes?: boolean }) => toc(frame, options));
  archive
    .command('create')
    .description('write what a server lacks of ours into one file')
    .option('--want <ref...>', 'images by NAME[@VERSION] (default: all that are held here)')
    .option('--have <toc>', 'the receiver\'s "archive toc" (default: it has nothing)')
    .requiredOption('--out <file>', 'the file to write; it appears when it is whole')
    .option('--yes', 'replace the file if it is there')
    .action((options: CreateOptions) => create(frame, options));
  archive
    .command('inspect <file>')
    .description('what an archive file declares, measured and not believed; the maker by the name that the server here knows')
    .option('--verify', 'read all of it and hold the parts against their names')
    .action((file: string, options: { verify?: boolean }) => inspect(frame, file, options.verify ?? false));
  archive
    .command('load <file>')
    .description('take what an archive file brings, verified as if it came over the link; harmless to repeat')
    .action((file: string) => load(frame, file));
}

async function toc(frame: Frame, { out, yes }: { out?: string; yes?: boolean }): Promise<void> {
  const found = await work<Toc>(frame, {
    client: (client) => client.get('/api/v1/archives/toc'),
    site: async (site) => (await import('../../server/archives/toc.ts')).readToc(site),
  });
  if (out !== undefined) await write(frame, out, { toc: found, isAgreed: yes ?? false });
  frame.print(found as unknown as Json, () =>
    out === undefined ? JSON.stringify(found, null, 2) : `${out}: ${found.images.length} images`,
  );
}

async function write(frame: Frame, path: string, { toc, isAgreed }: { toc: Toc; isAgreed: boolean }): Promise<void> {
  await askToReplace(frame, path, isAgreed);
  const { writeToc } = await import('../../server/archives/toc.ts');
  await writeToc(resolve(path), toc);
}

async function create(frame: Frame, { want, have, out, yes }: CreateOptions): Promise<void> {
  await askToReplace(frame, out, yes ?? false);
  const wish = { path: resolve(out), want: want ?? [], have: have === undefined ? undefined : resolve(have) };
  const made = await runLongWork<CreatedArchive>(frame, 'archive', { kind: 'archive-create', ...wish });
  frame.print(made as unknown as Json, () =>
    details([
      ['file', made.path],
      ['size', `${formatBytes(made.sizeBytes)} in ${made.parts.length} parts`],
      ['images', made.images.join(', ')],
      ['generation', `${made.generation} of epoch ${made.epoch}`],
      ['good until', made.expiresAt],
    ]),
  );
}

async function inspect(frame: Frame, file: string, isVerified: boolean): Promise<void> {
  const { inspectArchive } = await import('../../server/archives/inspect.ts');
  const bar = frame.progress('reading');
  const { progressOf } = await import('../../core/progress.ts');
  const started = performance.now();
  const report = (done: number, total: number) => bar.update(progressOf('', done, total, performance.now() - started));
  const found = await inspectArchive(resolve(file), { isVerified, report }).finally(() => bar.stop());
  const serverName = await nameOf(frame, found.server);
  frame.print({ ...found, serverName } as unknown as Json, () => describe(found, serverName));
}

/** What the server here calls that one; its id when it does not know it, or none is here: the file is inspected all the same. */
async function nameOf(frame: Frame, id: string): Promise<string> {
  try {
    return await work(frame, {
      client: async (client) => (await client.get<{ name: string }>(`/api/v1/servers/${id}`)).name,
      site: async ({ db }) => (await import('../../server/control/servers-below.ts')).serverName(db, id as Id),
    });
  } catch (error) {
    if (error instanceof AppError) return id;
    throw error;
  }
}

function nameAndId(name: string, id: string): string {
  return name === id ? id : `${name} (${id})`;
}

function describe(found: InspectedArchive, serverName: string): string {
  const facts = details([
    ['made by', nameAndId(serverName, found.server)],
    ['generation', `${found.generation} of epoch ${found.epoch}, since ${found.since}`],
    ['good until', found.expiresAt],
    ['size', `${formatBytes(found.sizeBytes)} in ${found.parts.length} parts`],
    ['for', found.have.length === 0 ? 'a server that has nothing' : `a server that has ${found.have.length} images of these names`],
    ['objects', found.objects],
  ]);
  const rows = found.images.map(({ name, version, kind, isBrought }) => [name, version, kind, isBrought ? 'yes' : 'no']);
  return rows.length === 0 ? facts : `${facts}\n${table(['IMAGE', 'VERSION', 'KIND', 'BROUGHT'], rows)}`;
}

async function load(frame: Frame, file: string): Promise<void> {
  const loaded = await runLongWork<LoadedArchive>(frame, 'archive', { kind: 'archive-load', path: resolve(file) });
  frame.print(loaded as unknown as Json, () =>
    details([
      ['from server', nameAndId(loaded.serverName, loaded.server)],
      ['generation', `${loaded.generation} of epoch ${loaded.epoch}${loaded.held ? '' : ', not that of our link'}`],
      ['taken', `${loaded.taken} new objects`],
      ...(loaded.raised === 0 ? [] : [['completed', `${loaded.raised} images that were known here, and not held`] as const]),
      ['deleted', loaded.removed],
      ...loaded.incomplete.map((manifest) => ['not whole', `${manifest} (the next run fetches the rest)`] as const),
      ...loaded.conflicts.map((words) => ['conflict', words] as const),
    ]),
  );
  if (loaded.incomplete.length > 0) frame.setOutcome('partial');
}
