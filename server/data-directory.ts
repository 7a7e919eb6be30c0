import { join, resolve } from 'node:path';
import { AppError } from '../core/errors.ts';

/** `sun_path` of unix(7) is 108 octets with its final zero; Node refuses what does not fit only as `EINVAL`. */
const MAX_SOCKET_PATH = 107;
const LONGEST_SOCKET = join('run', 'sync.sock');

/**
 * The absolute path of a data directory: programs that we start have working directories of their own.
 * Throws `config` when it is so long that the sockets in DIR/run could not be opened.
 */
export function dataDirectory(path: string): string {
  const absolute = resolve(path);
  if (Buffer.byteLength(join(absolute, LONGEST_SOCKET)) <= MAX_SOCKET_PATH) return absolute;
  const most = MAX_SOCKET_PATH - LONGEST_SOCKET.length - 1;
  throw new AppError('config', `the path of the data directory ${absolute} is too long for the sockets in it`, {
    hint: `choose one of at most ${most} octets with --data`,
  });
}
