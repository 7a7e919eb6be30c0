import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import { type Moved, moveDatabase } from '../../server/move-database.ts';
import { type SharedView, sharedWords } from '../../server/shared/view.ts';
import type { Frame } from '../frame.ts';
import { table } from '../output.ts';

const EXITS =
  '\nExit codes: 0 done, 1 counts differ, 65 the name is taken there, 69 not reachable, 75 the server runs (stop it first), 78 configuration';

type Options = { dryRun?: boolean; yes?: boolean; force?: boolean };

/** `waystation server database`: where this server meets others. */
export function registerDatabase(server: Command, frame: Frame): void {
  const database = server.command('database').description('the shared database: how it stands, and moving in and out');
  database
    .command('show', { isDefault: true })
    .description('since when it is reached, or away and why; needs a running server')
    .action(async () => {
      const view = await (await frame.connect()).get<SharedView>('/api/v1/shared');
      frame.print(view as unknown as Json, sharedWords(view) || 'this server meets nobody in a database');
    });
  database
    .command('move <where>')
    .description('meet others in this data source or URL from now on, or (none) in no database; the server must be stopped')
    .option('--dry-run', 'say what would be told, and change nothing')
    .option('--force', 'leave the database before although it cannot be reached')
    .option('--yes', 'do not ask')
    .addHelpText('after', EXITS)
    .action((where: string, options: Options) => move(frame, where, options));
}

async function move(frame: Frame, where: string, { dryRun = false, force = false, yes = false }: Options): Promise<void> {
  if (frame.url !== undefined) throw new AppError('usage', 'this works on a data directory', { hint: 'name one with --data' });
  const to = where === 'none' ? 'sqlite' : where;
  if (!dryRun) await frame.confirm(to === 'sqlite' ? 'Leave the shared database?' : `Meet other servers in ${where}?`, yes);
  const { dataDir, env, signal } = frame;
  const moved = await moveDatabase({ dataDir, env, to, isDryRun: dryRun, isForced: force, signal });
  frame.print(moved as unknown as Json, () => text(moved));
}

function text({ from, to, dryRun, told, notes }: Moved): string {
  const rows = told.map(({ what, here, there, newestHere, newestThere }) => [what, here, there, `${newestThere} of ${newestHere}`]);
  return [
    `${dryRun ? 'would move' : 'moved'} from ${from ?? 'no database'} to ${to ?? 'no database'}`,
    ...(rows.length === 0 ? [] : [table(['WHAT', 'HERE', 'THERE', 'TOLD UP TO'], rows)]),
    ...(dryRun ? [] : notes),
  ].join('\n');
}
