import type { Command } from 'commander';
import { AppError } from '../../core/errors.ts';
import { examine } from '../../server/doctor/doctor.ts';
import type { Frame } from '../frame.ts';
import { cleanText } from '../output.ts';

const WORD = { ok: 'ok  ', warn: 'WARN', fail: 'FAIL', unknown: '?   ' } as const;

export function register(program: Command, frame: Frame): void {
  program
    .command('doctor')
    .description('look at ports, rights, programs, disk, clock, keys, database, other DHCP servers; change nothing')
    .addHelpText('after', '\nExit codes: 0 nothing failed (warnings are no failure), 78 something failed')
    .action(async () => {
      if (frame.url !== undefined)
        throw new AppError('usage', 'doctor looks at this machine', { hint: 'run it on the server, with --data' });
      const items = await examine({
        dataDir: frame.dataDir,
        env: frame.env,
        isServerUp: await frame.isServerUp(),
        now: Date.now,
      });
      frame.print({ items: [...items], next: null }, () =>
        items
          .map(({ name, state, message, hint }) => cleanText(`${WORD[state]}  ${name}: ${message}${hint ? ` (${hint})` : ''}`))
          .join('\n'),
      );
      if (items.some(({ state }) => state === 'fail')) frame.setOutcome('config');
    });
}
