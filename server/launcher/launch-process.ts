import { accessSync, constants } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../core/errors.ts';
import type { Config } from '../config.ts';
import { pxeInterfaces, socketSpecs } from './launch.ts';

const LAUNCHER = fileURLToPath(new URL('./waystation-launch', import.meta.url));
const PERL = '/usr/bin/perl';

/**
 * Becomes the launcher, which opens the sockets and becomes this same command again (execve twice: the
 * process id, the terminal and the service manager's view stay). Call it before anything is opened or
 * locked. Does not return. Errors: `config` (no such interface), `missing_program` (perl).
 */
export function reexecUnderLauncher(config: Pick<Config, 'interfaces'>, options: { readonly json?: boolean } = {}): never {
  const specs = socketSpecs(pxeInterfaces(config)).flatMap((spec) => ['--socket', spec]);
  const command = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  try {
    accessSync(PERL, constants.X_OK);
  } catch (cause) {
    throw new AppError('missing_program', `${PERL} is missing; it opens the sockets of the PXE answer`, {
      hint: 'apt-get install perl-base, or pass the sockets with systemd (docs/examples)',
      cause,
    });
  }
  const { execve } = process;
  if (execve === undefined) throw new AppError('failed', 'this Node cannot replace its process', { hint: 'use Node 24 as pinned' });
  return execve.call(
    process,
    PERL,
    ['perl', LAUNCHER, ...(options.json ? ['--json'] : []), ...specs, '--', ...command],
    definedOnly(process.env),
  );
}

function definedOnly(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
