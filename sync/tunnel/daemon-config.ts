import { AppError } from '../../core/errors.ts';
import { MODULE } from './rsync-arguments.ts';

/**
 * The rsync daemon's configuration for one connection: one module, read-only, over a directory that holds exactly
 * the parts of one archive. As root the daemon is shut in that directory and gives up its rights; without root it
 * can do neither and relies on the directory alone. Nobody can name another module, list it, write, or use an
 * option that we do not use ourselves.
 * Source: rsyncd.conf(5).
 */
export function daemonConfig(options: { readonly directory: string; readonly asRoot: boolean }): string {
  if (/[\n\r%]/.test(options.directory)) {
    throw new AppError('config', `the data directory's path holds a character that rsyncd.conf cannot carry: ${options.directory}`);
  }
  const identity = options.asRoot ? ['use chroot = yes', 'uid = nobody', 'gid = nogroup'] : ['use chroot = no', 'munge symlinks = yes'];
  return `${[
    'log file = /dev/null',
    'reverse lookup = no',
    'max verbosity = 0',
    'timeout = 60',
    `[${MODULE}]`,
    `path = ${options.directory}`,
    'read only = yes',
    'list = no',
    ...identity,
    'max connections = 0',
    'exclude = .*',
    `refuse options = ${REFUSED.join(' ')}`,
  ].join('\n')}\n`;
}

/** Everything, then what our own client needs is allowed again (`--append-verify` works in place, and says so). */
const REFUSED = ['*', '!append', '!append-verify', '!inplace', '!partial', '!fsync', '!timeout'];
