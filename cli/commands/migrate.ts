import type { Command } from 'commander';
import { migrateSite } from '../../server/migrate-site.ts';
import type { Frame } from '../frame.ts';

export function register(program: Command, frame: Frame): void {
  program
    .command('migrate')
    .description('bring the database, and the shared one, up to this release (the server must be stopped)')
    .addHelpText(
      'after',
      '\nExit codes: 0 done or nothing to do (also while the shared database is away, which is said),\n69 the rows of release 0.1 are not reachable, 75 directory in use, 78 the shared database refuses it',
    )
    .action(async () => {
      const { applied, copied, note } = await migrateSite({ dataDir: frame.dataDir, env: frame.env });
      const lines = [
        ...copied.map(({ table, rows }) => `brought home ${table}: ${rows} rows`),
        ...applied.map((name) => `applied ${name}`),
      ];
      if (note !== null) frame.say(note);
      frame.print({ applied: [...applied], copied: [...copied], note }, lines.length === 0 ? 'nothing to do' : lines.join('\n'));
    });
}
