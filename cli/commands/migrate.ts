import type { Command } from 'commander';
import { migrateSite } from '../../server/migrate-site.ts';
import type { Frame } from '../frame.ts';

export function register(program: Command, frame: Frame): void {
  program
    .command('migrate')
    .description("bring the database's schema up to this release (the server must be stopped)")
    .addHelpText('after', '\nExit codes: 0 done or nothing to do, 69 the database is newer or not reachable, 75 directory in use')
    .action(async () => {
      const applied = await migrateSite({ dataDir: frame.dataDir, env: frame.env });
      frame.print({ applied: [...applied] }, applied.length === 0 ? 'nothing to do' : applied.map((name) => `applied ${name}`).join('\n'));
    });
}
