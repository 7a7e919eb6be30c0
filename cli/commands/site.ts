import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import type { TreeReport } from '../../server/shared/tree.ts';
import type { Frame } from '../frame.ts';
import { table } from '../output.ts';

const EXITS = `
Exit codes: 0 done, or nothing differs; 1 "site diff" found differences; 64 usage; 65 the file is wrong, or there is no shared
database; 66 no such file; 69 not reachable; 77 not permitted`;

/** `waystation site …`: all servers of a shared database in one file. */
export function register(program: Command, frame: Frame): void {
  const site = program
    .command('site')
    .description('a file that says how all servers of the shared database stand to one another')
    .addHelpText('after', EXITS);
  site
    .command('apply <file>')
    .description('make them so: parents, settings and links; what the file names is read-only elsewhere from then on')
    .option('--dry-run', 'only show what would change')
    .addHelpText('after', EXITS)
    .action(async (file: string, { dryRun = false }: { dryRun?: boolean }) => {
      await send(frame, file, dryRun ? 'diff' : 'apply');
    });
  site
    .command('diff <file>')
    .description('what is not as the file says')
    .addHelpText('after', EXITS)
    .action(async (file: string) => {
      const { differences } = await send(frame, file, 'diff');
      if (differences.length > 0) frame.setOutcome('mismatch');
    });
}

async function send(frame: Frame, path: string, what: 'apply' | 'diff'): Promise<TreeReport> {
  const text = await read(path);
  const report = await (await frame.connect()).post<TreeReport>(`/api/v1/site/${what}`, { file: basename(path), text });
  const { differences } = report;
  const rows = () =>
    table(
      ['SERVER', 'WHAT', 'IS', 'WANTED'],
      differences.map(({ server, field, is, wanted }) => [server, field, is, wanted]),
    );
  frame.print(report as unknown as Json, () => (differences.length === 0 ? 'nothing differs' : rows()));
  return report;
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new AppError('not_found', `cannot read ${path}`, { hint: 'check the path and its rights', cause });
  }
}
